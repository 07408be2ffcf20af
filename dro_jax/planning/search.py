"""Settings that make a run smaller, in the order in which they cost time."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from dro_jax.errors import ConfigError
from dro_jax.planning.report import PlanReport

# What should be left: a run's other programs, and what the allocator cannot use.
ENOUGH = 0.1
NOTHING_FOUND = (
    "Nothing that was tried has enough to spare: take a larger slice, a smaller "
    "BATCH_SIZE or shorter TASK_FEATURE_LENGTHS"
)
_REMAT = ("none", "minimal", "full")
_PARTS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Change:
    """Settings to change, by their names in gin files.

    Attributes:
      fsdp: split parameters and optimiser state too (`FSDP`); None, as it is.
      remat: what the backward pass recomputes (`REMAT_POLICY`); None, as it is.
      microbatches: parts of a batch (`NUM_MICROBATCHES`); None, as it is.
      model: devices for each layer (`MODEL_PARALLEL`); None, as it is.
    """

    fsdp: bool | None = None
    remat: str | None = None
    microbatches: int | None = None
    model: int | None = None

    def bindings(self) -> list[str]:
        """`NAME = VALUE`, as gin takes it."""
        values = (
            ("FSDP", self.fsdp),
            ("REMAT_POLICY", self.remat),
            ("NUM_MICROBATCHES", self.microbatches),
            ("MODEL_PARALLEL", self.model),
        )
        return [f"{name} = {x!r}" for name, x in values if x is not None]

    def flags(self) -> str:
        """As they are typed behind `dro-jax train`."""
        pairs = (binding.split(" = ") for binding in self.bindings())
        return " ".join(f"--gin.{name}={x.strip(chr(39))}" for name, x in pairs)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
      tried: each change with the plan that it gives, in order.
      found: the first with enough to spare; None where there is none.
    """

    tried: Sequence[tuple[Change, PlanReport]]
    found: tuple[Change, PlanReport] | None

    def to_json(self) -> dict:
        """Each try in short, and the plan that was found in full."""
        return {
            "tried": [
                {
                    "flags": change.flags(),
                    "fits": report.fits,
                    "spare": report.spare,
                    "total_bytes": report.compilation.memory.total_bytes,
                }
                for change, report in self.tried
            ],
            "flags": None if self.found is None else self.found[0].flags(),
            "plan": None if self.found is None else self.found[1].to_json(),
        }


def has_enough(report: PlanReport) -> bool:
    """Whether a plan fits with a tenth of the memory to spare, as far as that is known."""
    return report.fits and (report.spare is None or report.spare >= ENOUGH)


def changes(report: PlanReport) -> Iterator[Change]:
    """What may be changed of a run so that it takes less memory; each adds to the last.

    Splitting parameters over the devices comes first, which costs traffic that is often
    hidden; then computing activations anew; then parts of a batch; then splitting layers.
    What the devices or the batch do not divide is left out.

    Args:
      report: of the run as it is.
    """
    run = report.run
    devices = run.steps.partitioner.mesh
    rows, updates = run.plan.data.train.batch_size, run.run.updates
    is_split = bool(updates.mesh and updates.mesh.fsdp)
    policy = run.plan.model.network_config.remat_policy
    change = Change()
    if not is_split and devices.shape["data"] > 1:
        change = dataclasses.replace(change, fsdp=True)
        yield change
    for remat in _REMAT[_REMAT.index(policy) + 1 :]:
        change = dataclasses.replace(change, remat=remat)
        yield change
    for model in _PARTS:
        model *= devices.shape["model"]
        if devices.size % model:
            continue
        if model > devices.shape["model"]:
            change = dataclasses.replace(change, model=model)
        for factor in _PARTS:
            parts = updates.num_microbatches * factor
            is_new = factor > 1 or change.model is not None
            if is_new and rows % (devices.size // model * parts) == 0:
                several = parts if factor > 1 else None
                yield dataclasses.replace(change, microbatches=several)


def search(
    report: PlanReport,
    plan_with: Callable[[Change], PlanReport],
    tell: Callable[[str], None],
) -> Found:
    """Tries changes until a plan has enough to spare.

    Args:
      report: of the run as it is, which has not.
      plan_with: compiles the run with a change.
      tell: is given a sentence about each.
    """
    tried = []
    for change in changes(report):
        try:
            made = plan_with(change)
        except ConfigError as error:
            tell(f"{change.flags()}: cannot be tried: {error}")
            continue
        tried.append((change, made))
        tell(f"{change.flags()}: {_verdict(made)}")
        if has_enough(made):
            return Found(tried, tried[-1])
    return Found(tried, None)


def advice(report: PlanReport) -> str:
    """What to change, and how to find what is enough."""
    flags = [change.flags() for change in changes(report)]
    if not flags:
        return (
            "Take a larger slice, smaller BATCH_SIZE or shorter TASK_FEATURE_LENGTHS: "
            "what else saves memory is used already"
        )
    listed = "\n".join(f"  {line}" for line in flags)
    return (
        "What saves memory, one line more than the other (--search compiles them in "
        f"this order until one has enough to spare):\n{listed}"
    )


def _verdict(report: PlanReport) -> str:
    if has_enough(report):
        return "fits" if report.spare is None else f"fits, {report.spare:.0%} to spare"
    if report.fits:
        return f"fits, with {report.spare:.0%} to spare, which is little"
    return "does not fit"
