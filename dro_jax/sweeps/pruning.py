"""Which trials end early, by Optuna's pruners, each compared with its like alone.

Optuna's pruners look at all trials of a study. Here each is shown a study in memory that
holds what it may compare: trials of one objective, say, since losses of two objectives say
nothing of each other; in the direction of the metric that prunes, which need not be that
of the search.
"""

import dataclasses
import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dro_jax.plurals import counted
from dro_jax.sweeps.sweep import Pruning

if TYPE_CHECKING:
    import optuna


@dataclasses.dataclass(frozen=True)
class Curve:
    """What was measured of a trial.

    Attributes:
      values: of its axes, by name.
      seed_axis: which of them is its seed.
      state: as `SweptTrial.state`.
      points: of the metric, by step.
      folder: of its run, within the sweep's.
    """

    values: Mapping[str, Any]
    seed_axis: str | None = None
    state: str = "running"
    points: Mapping[int, float] = dataclasses.field(default_factory=dict)
    folder: str = ""

    @property
    def setting(self) -> str:
        """What it shares with the trials of other seeds."""
        others = {name: x for name, x in self.values.items() if name != self.seed_axis}
        return repr(sorted(others.items()))

    @property
    def seed(self) -> Any:
        """Its seed; None without an axis of seeds."""
        return self.values.get(self.seed_axis)


def reason_to_end(
    pruning: Pruning, own: Curve, others: Sequence[Curve], step: int
) -> str | None:
    """Why a trial is to end now; None, it goes on.

    Args:
      pruning: how to decide.
      own: the trial, with its value at `step`.
      others: all other trials of the stage.
      step: the one at hand.
    """
    if step < pruning.warmup_steps:
        return None
    like = _rivals(pruning, own, others)
    if pruning.method == "median":
        return _below_median(pruning, own, like, step)
    same = [one for one in others if one.setting == own.setting]
    return _worse_over_seeds(pruning, [own, *same], like, step)


def reason_not_to_run(
    pruning: Pruning,
    own: Curve,
    others: Sequence[Curve],
    rewards: Callable[[Curve], Mapping[str, float]],
) -> str | None:
    """Why another seed of a setting is not worth its time; None, it is.

    The seeds that are done are compared with the best setting, prompt by prompt.

    Args:
      pruning: of prompts.
      own, others: as for :func:`reason_to_end`.
      rewards: what a complete trial's responses earned, by prompt.
    """
    done = [one for one in others if one.state == "complete"]
    like = _rivals(pruning, own, done)
    ours = _by_prompt([one for one in done if one.setting == own.setting], rewards)
    if len(like) < pruning.startup_trials or not ours:
        return None
    settings: dict[str, list[Curve]] = {}
    for one in like:
        settings.setdefault(one.setting, []).append(one)
    rivals = [_by_prompt(seeds, rewards) for seeds in settings.values()]
    rivals = [one for one in rivals if ours.keys() <= one.keys()]
    reason = _worse(pruning, ours, rivals, "prompt")
    return None if reason is None else f"{pruning.metric} of its setting, {reason}"


def _by_prompt(
    seeds: Sequence[Curve], rewards: Callable[[Curve], Mapping[str, float]]
) -> dict[str, float]:
    """Means over seeds, of the prompts that all of them have."""
    found = [own for one in seeds if (own := rewards(one))]
    shared = set.intersection(*map(set, found)) if found else ()
    return {
        prompt: statistics.fmean(own[prompt] for own in found)
        for prompt in sorted(shared)
    }


def _rivals(pruning: Pruning, own: Curve, others: Sequence[Curve]) -> list[Curve]:
    """Trials of other settings that may be compared with it."""
    return [
        one
        for one in others
        if one.setting != own.setting and _agree(own, one, pruning.within)
    ]


def _agree(one: Curve, other: Curve, axes: Sequence[str]) -> bool:
    return all(one.values.get(axis) == other.values.get(axis) for axis in axes)


def _below_median(
    pruning: Pruning, own: Curve, like: Sequence[Curve], step: int
) -> str | None:
    import optuna

    complete = [one for one in like if one.state == "complete"]
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=pruning.startup_trials, n_warmup_steps=pruning.warmup_steps
    )
    there = [_trial(one.points, 0.0) for one in complete]
    if not _prunes(pruner, pruning, there, own.points):
        return None
    rivals = [one.points[step] for one in complete if step in one.points]
    best = (min if pruning.direction == "minimize" else max)(
        (x for x in own.points.values() if not math.isnan(x)), default=math.nan
    )
    if math.isnan(best):
        return f"{pruning.metric} was never a number up to step {step}"
    side = "above" if pruning.direction == "minimize" else "below"
    return (
        f"at step {step} its best {pruning.metric}, {best:.4g}, is {side} the median of "
        f"{counted(len(rivals), 'trial')}, {statistics.median(rivals):.4g}"
    )


def _worse_over_seeds(
    pruning: Pruning, own: Sequence[Curve], like: Sequence[Curve], step: int
) -> str | None:
    """Compares settings at one step, seed by seed."""
    ours = _by_seed(own, step)
    settings: dict[str, list[Curve]] = {}
    for one in like:
        settings.setdefault(one.setting, []).append(one)
    rivals = [_by_seed(curves, step) for curves in settings.values()]
    # One that has not come as far with all of these seeds cannot be compared.
    rivals = [theirs for theirs in rivals if ours.keys() <= theirs.keys()]
    done = sum(one.state == "complete" for one in like)
    if done < pruning.startup_trials or own[0].seed not in ours:
        return None
    reason = _worse(pruning, ours, rivals, "seed")
    if reason is None:
        return None
    return f"at step {step} {pruning.metric} of its setting, {reason}"


def _worse(
    pruning: Pruning,
    ours: Mapping[Any, float],
    rivals: Sequence[Mapping[Any, float]],
    instance: str,
) -> str | None:
    """How much worse than the best rival, if the pairs with it are sure of that.

    Args:
      pruning: how sure.
      ours: of the setting, by instance.
      rivals: the same of others, which may have more instances.
      instance: a seed or a prompt.
    """
    if not rivals:
        return None
    rivals = [{one: theirs[one] for one in ours} for theirs in rivals]
    places = {one: place for place, one in enumerate(ours)}
    there = [
        _trial({places[one]: x for one, x in theirs.items()}, _mean(theirs))
        for theirs in rivals
    ]
    points = {places[one]: x for one, x in ours.items()}
    if not _prunes(_wilcoxon(pruning), pruning, there, points):
        return None
    best = (min if pruning.direction == "minimize" else max)(map(_mean, rivals))
    return (
        f"{_mean(ours):.4g} over {counted(len(ours), instance)}, is worse than the best "
        f"setting's, {best:.4g} (signed-rank test, p < {pruning.p_threshold:g})"
    )


def _by_seed(curves: Sequence[Curve], step: int) -> dict[Any, float]:
    return {
        one.seed: one.points[step]
        for one in curves
        if step in one.points and math.isfinite(one.points[step])
    }


def _mean(values: Mapping[Any, float]) -> float:
    return statistics.fmean(values.values())


def _wilcoxon(pruning: Pruning) -> "optuna.pruners.BasePruner":
    import optuna

    with warnings.catch_warnings():
        # Experimental since 2024.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.pruners.WilcoxonPruner(p_threshold=pruning.p_threshold)


def _prunes(
    pruner: "optuna.pruners.BasePruner",
    pruning: Pruning,
    others: Sequence["optuna.trial.FrozenTrial"],
    points: Mapping[int, float],
) -> bool:
    """What a pruner says of a trial with these values, among others."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction=pruning.direction)
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.add_trials(others)
    own = optuna.create_trial(
        state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(points)
    )
    with warnings.catch_warnings():
        # NumPy's, of a trial that was never a number, which is pruned.
        warnings.simplefilter("ignore", RuntimeWarning)
        return pruner.prune(study, own)


def _trial(points: Mapping[int, float], value: float) -> "optuna.trial.FrozenTrial":
    import optuna

    return optuna.create_trial(value=value, intermediate_values=dict(points))
