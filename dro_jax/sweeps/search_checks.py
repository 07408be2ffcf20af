"""What is wrong with the settings of a search or of pruning, in a sentence."""

import difflib
from collections.abc import Mapping

from dro_jax.errors import ConfigError
from dro_jax.evaluation.figures import figure
from dro_jax.sweeps.axes import Seeds, Zip
from dro_jax.sweeps.sweep import Pruning, Search, Stage

_SAMPLERS = ("random", "tpe", "qmc")
_OVER = ("seeds", "prompts")
_METHODS = ("median", "wilcoxon")
_DIRECTIONS = ("maximize", "minimize")
_JUDGED = ("win_rate", "length_controlled_win_rate")
# Names of the held-out metrics, which come at evaluations alone.
EVALUATED = "eval/"


def check_stage(stage: Stage, *, is_evaluated: bool = True) -> None:
    """Refuses settings of a stage's search or pruning that cannot be used.

    Args:
      stage: the stage.
      is_evaluated: whether the sweep evaluates its runs.

    Raises:
      ConfigError: there is one.
    """
    where = f"stage {stage.name}"
    search, pruning = stage.search, stage.pruning
    for name, value, kind in (
        ("search", search, Search),
        ("pruning", pruning, Pruning),
    ):
        if value is not None and not isinstance(value, kind):
            raise ConfigError(
                f"{where}: {name} = {value!r:.80}: set @sweeps.{kind.__name__}()"
            )
    if search is not None:
        _check_one_of(f"{where}: Search.sampler", search.sampler, _SAMPLERS)
        _check_one_of(f"{where}: Search.direction", search.direction, _DIRECTIONS)
        _check_at_least(f"{where}: Search.num_trials", search.num_trials, 1)
        _check_at_least(f"{where}: Search.startup_trials", search.startup_trials, 1)
        if search.metric.partition("/")[0] in _JUDGED:
            raise ConfigError(
                f"{where}: Search.metric = {search.metric!r} is known only when all runs "
                "are done and judged together: take a reward (`reward`, `reward/NAME`), "
                "or a win rate that evaluations in training sample "
                "(`eval/sampled/win_rate/NAME`)"
            )
    if pruning is not None:
        _check_one_of(f"{where}: Pruning.method", pruning.method, _METHODS)
        _check_one_of(f"{where}: Pruning.direction", pruning.direction, _DIRECTIONS)
        _check_one_of(f"{where}: Pruning.over", pruning.over, _OVER)
        _check_at_least(f"{where}: Pruning.warmup_steps", pruning.warmup_steps, 0)
        _check_at_least(f"{where}: Pruning.startup_trials", pruning.startup_trials, 1)
        _check_within(pruning, stage)
        if pruning.method == "wilcoxon":
            _check_wilcoxon(pruning, stage)
        if pruning.over == "prompts":
            _check_prompts(pruning, where, is_evaluated=is_evaluated)


def check_logged(
    stage: Stage, metrics: Mapping[str, float], *, is_evaluated: bool = True
) -> None:
    """Refuses a metric that a line of a run's log should have, and has not.

    Args:
      stage: of the run.
      metrics: a line.
      is_evaluated: whether the sweep evaluates the run, so that the metric of a search
        may be a figure of that.

    Raises:
      ConfigError: of an evaluation's line an `eval/…`, of any line another metric.
    """
    is_evaluation = any(name.startswith(EVALUATED) for name in metrics)
    asked = {}
    if stage.pruning is not None and stage.pruning.over == "seeds":
        asked["Pruning.metric"] = stage.pruning.metric
    if stage.search is not None:
        name = stage.search.metric
        if not (is_evaluated and figure(name).meaning):
            asked["Search.metric"] = name
    for setting, name in asked.items():
        comes = is_evaluation or not name.startswith(EVALUATED)
        if comes and name not in metrics:
            near = difflib.get_close_matches(name, metrics, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(
                f"stage {stage.name}: {setting} = {name!r} is no name in the run's "
                f"metrics.jsonl{meant}; those there are {', '.join(sorted(metrics))}"
            )


def _check_within(pruning: Pruning, stage: Stage) -> None:
    names = [
        one.name
        for axis in stage.axes
        for one in (axis.axes if isinstance(axis, Zip) else [axis])
    ]
    if isinstance(pruning.within, str):
        raise ConfigError(
            f"stage {stage.name}: Pruning.within is a list of axes: give "
            f"[{pruning.within!r}]"
        )
    default = Pruning.__dataclass_fields__["within"].default
    for name in pruning.within:
        # The default names an axis that a stage of one objective does not have.
        if name not in names and name not in default:
            raise ConfigError(
                f"stage {stage.name}: Pruning.within names {name!r}, which is no axis of "
                f"it; its axes are {', '.join(names) or 'none'}"
            )


def _check_wilcoxon(pruning: Pruning, stage: Stage) -> None:
    p, where = pruning.p_threshold, f"stage {stage.name}: Pruning"
    if not 0 < p < 1:
        raise ConfigError(f"{where}.p_threshold must be between 0 and 1, got {p}")
    seeds = next((axis for axis in stage.axes if isinstance(axis, Seeds)), None)
    count = 1 if seeds is None else len(seeds.values)
    if pruning.over == "prompts":
        if count < 2:
            raise ConfigError(
                f"{where}.over = 'prompts' spares a setting's later seeds, and there are "
                "none: give sweeps.Seeds two values or more"
            )
    elif 0.5**count >= p:
        needed = next(n for n in range(1, 99) if 0.5**n < p)
        raise ConfigError(
            f"{where}.method = 'wilcoxon' compares settings seed by seed, and a signed-"
            f"rank test over {count} cannot come below p = {0.5**count:g}, which is not "
            f"under p_threshold = {p:g}: give sweeps.Seeds {needed} values or more, raise "
            "p_threshold, or take method = 'median'"
        )


def _check_prompts(pruning: Pruning, where: str, *, is_evaluated: bool) -> None:
    if pruning.method != "wilcoxon":
        raise ConfigError(
            f"{where}: Pruning.over = 'prompts' goes with method = 'wilcoxon', not with "
            f"{pruning.method!r}"
        )
    if not is_evaluated:
        raise ConfigError(
            f"{where}: Pruning.over = 'prompts' compares what runs earn in the sweep's "
            "evaluation, and these are not evaluated: set Sweep.evaluation, or take "
            "over = 'seeds'"
        )
    if pruning.metric.partition("/")[0] != "reward":
        raise ConfigError(
            f"{where}: Pruning.metric = {pruning.metric!r}: over prompts give 'reward', "
            "or 'reward/NAME' of a reward of the evaluation"
        )
    if pruning.direction != "maximize":
        raise ConfigError(
            f"{where}: Pruning.direction = {pruning.direction!r} would end what earns "
            "most: of a reward more is better, set 'maximize'"
        )


def _check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} = {value!r} is unknown: use {' or '.join(known)}")


def _check_at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} = {value!r}: give a whole number from {least} on")
