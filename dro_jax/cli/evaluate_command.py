"""`dro-jax evaluate`: several policies asked the same prompts, scored and compared."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

from dro_jax.cli import gin_setup
from dro_jax.cli.evaluation_session import Session
from dro_jax.cli.named_rewards import named_rewards
from dro_jax.cli.outputs import check_folder
from dro_jax.cli.policies_to_evaluate import Candidate, open_candidates
from dro_jax.cli.runs_to_report import reported_runs
from dro_jax.cli.sampling_flags import decoding_of
from dro_jax.cli.task_modules import SHIPPED
from dro_jax.data.modules import import_modules
from dro_jax.data.tasks import FeedbackTask, feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation import compared_runs, comparison_table
from dro_jax.evaluation.compared_runs import KnownScores
from dro_jax.evaluation.evaluated_run import EvaluatedRun, WinRate
from dro_jax.evaluation.prompts import Prompt, digest, split_prompts
from dro_jax.evaluation.reward_difference import RewardDifference, reward_differences
from dro_jax.judges.interface import Judge
from dro_jax.judges.reward_judge import RewardJudge
from dro_jax.messages import is_first, note
from dro_jax.models.decoding import DecodingConfig
from dro_jax.paths import make_folder
from dro_jax.reporting.report import write_report
from dro_jax.rewards.interface import Reward
from dro_jax.rewards.task_reward import TRUE_REWARD, FunctionReward
from dro_jax.training.hosts import agree, first_says

Pairs = Literal["all", "references", "none"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What an evaluation of several runs found.

    Attributes:
      runs: references, then runs, in their order; none on other processes than the
        first.
      win_rates: of pairs of them.
      folders: those of the runs that are no references alone.
      name: of the evaluation in each.
    """

    runs: tuple[EvaluatedRun, ...]
    win_rates: tuple[WinRate, ...] = ()
    folders: tuple[pathlib.Path, ...] = ()
    name: str = ""

    @functools.cached_property
    def reward_differences(self) -> tuple[RewardDifference, ...]:
        """Of all pairs of runs; drawn once, for the table and for the file."""
        return tuple(reward_differences(self.runs))

    def to_json(self) -> dict[str, Any]:
        """Everything but the responses, as values that JSON holds."""
        return {
            "runs": [
                own.measured() | {"settings": dict(own.settings)} for own in self.runs
            ],
            "win_rates": [own.told() for own in self.win_rates],
            "reward_differences": [
                dataclasses.asdict(own) for own in self.reward_differences
            ],
        }


def run(arguments) -> None:
    """Evaluate runs, print a table, and write all of it."""
    if arguments.report_dir is not None:
        arguments.report_dir = check_folder("--report", arguments.report_dir)
    found = evaluate(arguments)
    if not is_first():
        return
    print(comparison_table.table(found.runs))
    if found.win_rates:
        labels = [own.label for own in found.runs]
        print(f"\n{comparison_table.win_rates(found.win_rates, labels)}")
    if differences := found.reward_differences:
        print(f"\n{comparison_table.reward_differences(differences)}")
    if arguments.output is not None:
        arguments.output.write_json(found.to_json())
        print(f"written: {arguments.output.name}")
    if arguments.report_dir is not None:
        rows = reported_runs(found.folders, found.name)
        output = make_folder(arguments.report_dir, "--report")
        print(f"written: {write_report(rows, output)}")


def evaluate(arguments, *, pairs: Pairs = "all") -> Comparison:
    """What the command does but for telling of it; all processes must call it.

    Args:
      arguments: the command line.
      pairs: which runs judges compare: `all`, each with what it started from
        (`references`), or `none`, and then no judge is made.
    """
    config = decoding_of(arguments)
    candidates, session, judges = agree(
        lambda: _prepared(arguments, config, judged=pairs != "none")
    )
    found: dict[Candidate, EvaluatedRun | None] = {}
    # A reference stays loaded for the runs that stand beside it.
    for candidate in _by_reference(candidates):
        found[candidate] = session.evaluated(candidate)
    session.forget()
    said: list[Comparison] = []
    asked = [candidate for candidate in candidates if candidate.is_run]

    def judge() -> None:
        folders = [session.folder(candidate) for candidate in candidates]
        runs = [found[candidate] for candidate in candidates]
        couples = [] if pairs == "none" else None
        if pairs == "references":
            couples = [
                (found[own], found[own.reference])
                for own in candidates
                if own.reference is not None
            ]
        judged = _judged(runs, folders, judges, session.rewards, config.seed, couples)
        homes = tuple(candidate.home for candidate in asked)
        name = session.folder(asked[0]).name
        said.append(dataclasses.replace(judged, folders=homes, name=name))

    first_says(judge)
    return said[0] if said else Comparison(())


def _judged(
    runs: Sequence[EvaluatedRun],
    folders: Sequence[pathlib.Path],
    judges: Sequence[Judge],
    rewards: Sequence[Reward],
    seed: int,
    couples: Sequence[tuple[EvaluatedRun, EvaluatedRun]] | None,
) -> Comparison:
    """Evaluated runs with their win rates; without a judge the first reward is one."""
    if not judges and rewards:
        judges = [RewardJudge(KnownScores(rewards[0], runs))]
    found = compared_runs.compared(runs, judges, seed=seed, couples=couples)
    return Comparison(
        tuple(
            compared_runs.keep(folder, run, found)
            for folder, run in zip(folders, runs, strict=True)
        ),
        tuple(found),
    )


def _prepared(
    arguments, config: DecodingConfig, *, judged: bool
) -> tuple[list[Candidate], Session, list[Judge]]:
    import_modules(SHIPPED)
    import_modules(arguments.module, "--module")
    candidates, (rewards, judges) = open_candidates(
        arguments, lambda: (named_rewards(), _named_by("JUDGE") if judged else [])
    )
    runs = [candidate for candidate in candidates if candidate.is_run]
    first = runs[0].described
    config = config.limited_to(first.lengths["targets"])
    task, prompts = _asked(arguments, runs)
    known = any(reward.name == TRUE_REWARD for reward in rewards)
    if task.reward_fn is not None and not known:
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
        "decoding": config.facts(),
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
    return candidates, session, judges


def _named_by(macro: str) -> list[Any]:
    """What a macro of the command line's gin files names: nothing, one or several."""
    found = gin_setup.macro(macro, default=None)
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
