"""`dro-jax evaluate`: several policies asked the same prompts, scored and compared."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from dro_jax.cli import gin_setup
from dro_jax.cli.evaluation_session import Session
from dro_jax.cli.policies_to_evaluate import Candidate, open_candidates
from dro_jax.cli.task_modules import SHIPPED
from dro_jax.data.modules import import_modules
from dro_jax.data.tasks import FeedbackTask, feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation import comparison_table
from dro_jax.evaluation.evaluated_run import EvaluatedRun, WinRate
from dro_jax.evaluation.prompts import Prompt, digest, split_prompts
from dro_jax.messages import is_first, note
from dro_jax.models.decoding import DecodingConfig
from dro_jax.rewards.interface import Reward
from dro_jax.rewards.task_reward import FunctionReward
from dro_jax.training.hosts import agree


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What an evaluation of several runs found.

    Attributes:
      runs: references, then runs, in their order; none on other processes than the
        first.
      win_rates: of pairs of them.
    """

    runs: tuple[EvaluatedRun, ...]
    win_rates: tuple[WinRate, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but the responses, as values that JSON holds."""
        return {
            "runs": [
                own.measured() | {"settings": dict(own.settings)} for own in self.runs
            ],
            "win_rates": [dataclasses.asdict(own) for own in self.win_rates],
        }


def run(arguments) -> None:
    """Evaluate runs, print a table, and write all of it."""
    found = evaluate(arguments)
    if not is_first():
        return
    print(comparison_table.table(found.runs))
    if arguments.output is not None:
        arguments.output.write_json(found.to_json())
        print(f"written: {arguments.output.name}")


def evaluate(arguments) -> Comparison:
    """What the command does but for telling of it; all processes must call it."""
    config = _decoding(arguments)
    candidates, session = agree(lambda: _prepared(arguments, config))
    found = []
    # A reference stays loaded for the runs that stand beside it.
    for candidate in _by_reference(candidates):
        found.append((candidates.index(candidate), session.evaluated(candidate)))
    session.forget()
    runs = [one for _, one in sorted(found, key=lambda pair: pair[0]) if one]
    return Comparison(tuple(runs))


def _prepared(arguments, config: DecodingConfig) -> tuple[list[Candidate], Session]:
    import_modules(SHIPPED)
    import_modules(arguments.module, "--module")
    candidates, rewards = open_candidates(arguments, _rewards)
    runs = [candidate for candidate in candidates if candidate.is_run]
    first = runs[0].described
    if config.max_decode_length is None:
        length = first.lengths["targets"]
        config = dataclasses.replace(config, max_decode_length=length)
    task, prompts = _asked(arguments, runs)
    if task.reward_fn is not None:
        rewards = [*rewards, FunctionReward(task.reward_fn)]
    if not rewards:
        note(
            f"no reward: {task.name} has no true one, and no gin file sets REWARD "
            "(--gin_file=gin_configs/rewards/….gin, docs/rewards.md)"
        )
    asked = {
        "task": task.name,
        "split": arguments.split,
        "num_prompts": len(prompts),
        "decoding": dataclasses.asdict(config),
        "step": arguments.step,
        "reference": _given_reference(arguments, candidates),
    }
    mesh = first.mesh
    session = Session(
        task=task,
        prompts=prompts,
        asked=asked,
        prompts_digest=digest(prompts),
        lengths=first.lengths,
        config=config,
        mesh=mesh,
        batch_size=arguments.batch_size,
        rewards=rewards,
        watchdog_seconds=first.watchdog_seconds,
    )
    return candidates, session


def _decoding(arguments) -> DecodingConfig:
    names = (
        "max_decode_length",
        "num_samples",
        "temperature",
        "top_k",
        "top_p",
        "seed",
    )
    return DecodingConfig(**{name: getattr(arguments, name) for name in names})


def _rewards() -> list[Reward]:
    """Those of the gin files of the command line, the one that counts first."""
    found = gin_setup.macro("REWARD", default=None)
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple) else [found]


def _asked(
    arguments, runs: Sequence[Candidate]
) -> tuple[FeedbackTask, tuple[Prompt, ...]]:
    """The task whose prompts all runs answer, and these."""
    first, *others = runs
    task = first.described.task
    if arguments.task is not None and arguments.task != task.name:
        task = feedback_task(arguments.task)
        if task.vocabulary != first.described.task.vocabulary:
            raise ConfigError(
                f"--task {task.name} has another vocabulary than {first.label}: give a "
                "task of the same"
            )
        return task, split_prompts(task.records(arguments.split), arguments.num_prompts)
    prompts = split_prompts(task.records(arguments.split), arguments.num_prompts)
    for other in others:
        its = other.described.task
        if its.name != task.name:
            raise ConfigError(
                f"{first.label} was trained on the task {task.name}, and {other.label} "
                f"on {its.name}: say by --task NAME whose prompts all are asked"
            )
        if its is not task:
            records = its.records(arguments.split)
            if digest(split_prompts(records, arguments.num_prompts)) != digest(prompts):
                raise DataError(
                    f"{first.label} and {other.label} were trained on different data "
                    f"that are both called {task.name}: give those to ask all, for "
                    "example --gin.VALIDATION_PATH=FILE, or --task NAME"
                )
    return task, prompts


def _given_reference(arguments, candidates: Sequence[Candidate]) -> Any:
    if arguments.reference is None:
        return None
    return next(own.checkpoint for own in candidates if own.is_reference)


def _by_reference(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each reference with those compared with it behind it; a chain of them as it is."""
    order: list[Candidate] = []
    for candidate in candidates:
        for own in (candidate.reference, candidate):
            if own is not None and own not in order:
                order.append(own)
    return sorted(order, key=lambda own: order.index(own.reference or own))
