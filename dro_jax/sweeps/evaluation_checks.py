"""What is wrong with a sweep's evaluation that its description alone tells."""

from dro_jax.errors import ConfigError
from dro_jax.sweeps.names import check_known, names_in
from dro_jax.sweeps.sweep import Evaluation, Sweep

_COUNT, _WHOLE = "a whole number from 1", "a whole number"
_LEVEL, _TEXT = "a number from 0", "a text"
_KINDS = {
    "num_prompts": _COUNT,
    "num_samples": _COUNT,
    "batch_size": _COUNT,
    "seed": _WHOLE,
    "temperature": _LEVEL,
    "task": _TEXT,
    "split": _TEXT,
}
_IS_ONE = {
    _COUNT: lambda value: type(value) is int and value >= 1,
    _WHOLE: lambda value: type(value) is int,
    _LEVEL: lambda value: type(value) in (int, float) and value >= 0,
    _TEXT: lambda value: isinstance(value, str) and bool(value),
}


def check_evaluation(sweep: Sweep) -> None:
    """Refuses an evaluation that cannot be made.

    Args:
      sweep: its stages are checked; without an evaluation nothing is.

    Raises:
      ConfigError: naming the field.
    """
    evaluation = sweep.evaluation
    if evaluation is None:
        return
    if not isinstance(evaluation, Evaluation):
        raise ConfigError(
            f"Sweep.evaluation = {evaluation!r:.80}: set @sweeps.Evaluation()"
        )
    last = sweep.stages[-1]
    if not last.evaluated:
        raise ConfigError(
            f"the stage {last.name} is the last, whose runs are compared, and has "
            "evaluated = False: leave that out, or leave out Sweep.evaluation"
        )
    _check_flags(evaluation)
    stages = [stage.name for stage in sweep.stages]
    names = [*names_in([*evaluation.gin_files, evaluation.bindings])]
    check_known(names, stages, "Sweep.evaluation")
    for name in names:
        if name in stages:
            _check_is_done(name, stages.index(name), sweep)


def _check_flags(evaluation: Evaluation) -> None:
    """What the flags of these names would refuse, when a run is trained already."""
    for name, kind in _KINDS.items():
        value = getattr(evaluation, name)
        if value is not None and not _IS_ONE[kind](value):
            raise ConfigError(
                f"Evaluation.{name} = {value!r:.80}: give {kind}, or None"
            )


def _check_is_done(name: str, place: int, sweep: Sweep) -> None:
    """A run is evaluated when it is trained, and its reward must be there by then."""
    for stage in sweep.stages[: place + 1]:
        if stage.evaluated:
            raise ConfigError(
                f"Sweep.evaluation: ${name} is not done yet when the runs of the stage "
                f"{stage.name} are evaluated: put the stage {name} before it, or set "
                f"evaluated = False for {stage.name}"
            )
