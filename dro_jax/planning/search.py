"""Settings that make a run smaller, in the order in which they cost time."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from dro_jax.errors import ConfigError
from dro_jax.planning.report import PlanReport
from dro_jax.planning.topologies import Slice
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.sharding import MeshConfig

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


@dataclasses.dataclass(frozen=True)
class Start:
    """What of a run decides which changes there are.

    Attributes:
      data: devices over which a batch is split.
      model: devices over which layers are split.
      rows: of a batch.
      microbatches: parts of a batch.
      fsdp: whether parameters are split over `data` too.
      remat: what the backward pass recomputes.
    """

    data: int
    model: int
    rows: int
    microbatches: int
    fsdp: bool
    remat: str

    @classmethod
    def of(cls, run: RunSettings, devices: Slice) -> "Start":
        """Of a run as it is, whether or not its batch divides over the devices.

        Raises:
          ConfigError: the run's mesh does not fit the devices.
        """
        mesh = run.updates.mesh or MeshConfig()
        shape = mesh.build(devices.devices).mesh.shape
        return cls(
            shape["data"],
            shape["model"],
            run.data.train.batch_size,
            run.updates.num_microbatches,
            mesh.fsdp,
            run.model.network_config.remat_policy,
        )

    @property
    def divides(self) -> bool:
        """Whether the batch divides over the run's own devices and microbatches."""
        return self.divides_with(Change())

    def divides_with(self, change: Change) -> bool:
        """Whether the batch divides over devices and microbatches with a change."""
        data = self.data_with(change)
        return self.rows % (data * (change.microbatches or self.microbatches)) == 0

    def data_with(self, change: Change) -> int:
        """Over how many devices a batch is split with a change."""
        return self.data * self.model // (change.model or self.model)

    def layers_split(self) -> Iterator[Change]:
        """The run as it is, and with its layers over more and more devices."""
        yield Change()
        for factor in _PARTS[1:]:
            if self.data % factor == 0:
                yield Change(model=self.model * factor)

    def with_parts(self, change: Change) -> Iterator[Change]:
        """A change, and with its batch in more and more parts."""
        yield change
        for factor in _PARTS[1:]:
            yield dataclasses.replace(change, microbatches=self.microbatches * factor)


def changes(start: Start) -> Iterator[Change]:
    """What may be changed of a run so that it takes less memory; each adds to the last.

    Splitting parameters over the devices comes first, which costs traffic that is often
    hidden; then computing activations anew; then parts of a batch; then splitting layers.
    What the devices do not divide is left out, and so is what :func:`left_out` names: of a
    batch that does not divide as it is, layers are split first, until it does.

    Args:
      start: the run as it is.
    """
    splits = list(filter(start.divides_with, start.layers_split()))
    if not splits:
        return
    change, model = splits[0], splits[0].model
    if not start.divides:
        yield change
    if not start.fsdp and start.data_with(change) > 1:
        change = dataclasses.replace(change, fsdp=True)
        yield change
    for remat in _REMAT[_REMAT.index(start.remat) + 1 :]:
        change = dataclasses.replace(change, remat=remat)
        yield change
    for split in splits:
        split = dataclasses.replace(change, model=split.model)
        for parts in filter(start.divides_with, start.with_parts(split)):
            if parts.microbatches or parts.model != model:
                yield parts


def left_out(start: Start) -> list[Change]:
    """Over whose devices and microbatches the batch does not divide."""
    return [
        parts
        for split in start.layers_split()
        for parts in start.with_parts(split)
        if not start.divides_with(parts)
    ]


def search(
    start: Start,
    plan_with: Callable[[Change], PlanReport],
    tell: Callable[[str], None],
) -> Found:
    """Tries changes until a plan has enough to spare.

    Args:
      start: the run as it is, which has not.
      plan_with: compiles the run with a change.
      tell: is given a sentence about each.
    """
    tried = []
    if out := left_out(start):
        names = "; ".join(change.flags() or "the run as it is" for change in out)
        tell(f"left out, as BATCH_SIZE = {start.rows} does not divide: {names}")
    for change in changes(start):
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
    start = Start.of(report.run.run, report.devices)
    flags = [change.flags() for change in changes(start)]
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
