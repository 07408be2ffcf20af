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
from collections.abc import Mapping, Sequence
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
    """

    values: Mapping[str, Any]
    seed_axis: str | None = None
    state: str = "running"
    points: Mapping[int, float] = dataclasses.field(default_factory=dict)

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
    like = [
        one
        for one in others
        if one.setting != own.setting and _agree(own, one, pruning.within)
    ]
    if pruning.method == "median":
        return _below_median(pruning, own, like, step)
    same = [one for one in others if one.setting == own.setting]
    return _worse_over_seeds(pruning, [own, *same], like, step)


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
    rivals = {}
    for name, curves in settings.items():
        theirs = _by_seed(curves, step)
        # One that has not come as far with all of these seeds cannot be compared.
        if ours.keys() <= theirs.keys():
            rivals[name] = {seed: theirs[seed] for seed in ours}
    done = sum(one.state == "complete" for one in like)
    if done < pruning.startup_trials or own[0].seed not in ours or not rivals:
        return None
    places = {seed: place for place, seed in enumerate(ours)}
    there = [
        _trial({places[seed]: x for seed, x in theirs.items()}, _mean(theirs))
        for theirs in rivals.values()
    ]
    points = {places[seed]: x for seed, x in ours.items()}
    if not _prunes(_wilcoxon(pruning), pruning, there, points):
        return None
    best = (min if pruning.direction == "minimize" else max)(
        map(_mean, rivals.values())
    )
    return (
        f"at step {step} {pruning.metric} of its setting, {_mean(ours):.4g} over "
        f"{counted(len(ours), 'seed')}, is worse than the best setting's, {best:.4g} "
        f"(signed-rank test, p < {pruning.p_threshold:g})"
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
