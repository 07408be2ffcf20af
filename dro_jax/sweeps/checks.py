"""What is wrong with a sweep that its description alone tells."""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from dro_jax.errors import ConfigError
from dro_jax.sweeps import search_checks
from dro_jax.sweeps.axes import Axis, Files, Grid, Integers, Seeds, Uniform, Zip
from dro_jax.sweeps.combinations import is_range, plain_axes, words_of
from dro_jax.sweeps.evaluation_checks import check_evaluation
from dro_jax.sweeps.names import SWEEP_DIR, check_known, names_in
from dro_jax.sweeps.sweep import Stage, Sweep

# Of the sweep's own folder.
TAKEN = ("report", "workers", "reference_cache", "value_of_reference", "steps")
_MODEL_DIR = "MODEL_DIR"
_STAGE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_BINDING = re.compile(r"[A-Za-z_][\w./]*")
_FILES = re.compile(r"[A-Za-z_]\w*")


def check_sweep(sweep: Any) -> None:
    """Refuses a sweep that cannot be planned.

    Raises:
      ConfigError: naming stage and axis.
    """
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"SWEEP = {sweep!r:.80} is no sweep: set @sweeps.Sweep()")
    stages = _of_kind(sweep.stages, Stage, "Sweep.stages", "@NAME/sweeps.Stage()")
    if not stages:
        raise ConfigError("Sweep.stages is empty: give at least one @sweeps.Stage()")
    for stage in stages:
        _check_name(stage)
    _refuse_twice((stage.name for stage in stages), "two stages are called")
    for place, stage in enumerate(stages):
        _check_axes(stage)
        _check_search(stage)
        is_evaluated = sweep.evaluation is not None and stage.evaluated
        search_checks.check_stage(stage, is_evaluated=is_evaluated)
        _check_names_in(stage, stages[:place], stages[place + 1 :])
    _check_whole(sweep)


def _check_whole(sweep: Sweep) -> None:
    last = sweep.stages[-1]
    check_evaluation(sweep)
    names = [axis.name for axis in plain_axes(last.axes)]
    if names and sweep.compared not in names:
        raise ConfigError(
            f"Sweep.compared = {sweep.compared!r} is no axis of the last stage, "
            f"{last.name}: its axes are {', '.join(names)}"
        )
    if not isinstance(sweep.conditions, list | tuple):
        raise ConfigError(
            f"Sweep.conditions = {sweep.conditions!r:.80}: give a list of axes"
        )
    for name in sweep.conditions:
        if name not in names:
            raise ConfigError(
                f"Sweep.conditions names {name!r}, which is no axis of the last stage, "
                f"{last.name}: its axes are {', '.join(names) or 'none'}"
            )
    if sweep.budget_tokens is not None and not (
        type(sweep.budget_tokens) is int and sweep.budget_tokens > 0
    ):
        raise ConfigError(
            f"Sweep.budget_tokens = {sweep.budget_tokens!r}: give a whole number of "
            "tokens above 0, or None"
        )


def _check_name(stage: Stage) -> None:
    name = stage.name
    if not (isinstance(name, str) and _STAGE.fullmatch(name)) or name == SWEEP_DIR:
        raise ConfigError(
            f"Stage.name = {name!r}: the name is a folder's, of letters, digits, _ and -"
        )
    if name in TAKEN:
        raise ConfigError(
            f"Stage.name = {name!r} is the name of another folder of the sweep: take "
            "another name"
        )
    if isinstance(stage.gin_files, str):
        raise ConfigError(f"stage {name}: gin_files is a list of files, not one text")


def _check_axes(stage: Stage) -> None:
    where = f"stage {stage.name}"
    axes = _of_kind(stage.axes, get_args(Axis), f"{where}: axes", "@sweeps.Grid()")
    for axis in axes:
        if isinstance(axis, Zip):
            _check_zip(axis, where)
    plain = list(plain_axes(axes))
    for axis in plain:
        _check_axis(axis, where)
    _refuse_twice((axis.name for axis in plain), f"{where}: two axes are called")
    seeds = [axis.name for axis in plain if isinstance(axis, Seeds)]
    if len(seeds) > 1:
        raise ConfigError(f"{where} has two axes of seeds: {' and '.join(seeds)}")
    settings = [axis.name for axis in plain if not isinstance(axis, Files)]
    for name in settings:
        if name in stage.bindings:
            raise ConfigError(
                f"{where}: {name} is an axis and is set in its bindings too: leave it "
                "out of the bindings"
            )
    for axis in plain:
        if isinstance(axis, Files):
            _check_is_no_axis_set(axis, settings, where)
    words = (
        word.partition("=")[0].strip()
        for axis in plain
        if isinstance(axis, Files)
        for value in axis.values.values()
        for word in words_of(value)
        if "=" in word
    )
    if _MODEL_DIR in {*stage.bindings, *settings, *words}:
        raise ConfigError(
            f"{where} sets {_MODEL_DIR}, and each run has a folder of its own in the "
            "sweep's: leave it out"
        )


def _check_is_no_axis_set(axis: Files, settings: Sequence[str], where: str) -> None:
    for label, value in axis.values.items():
        for word in words_of(value):
            name = word.partition("=")[0].strip()
            if "=" in word and name in settings:
                raise ConfigError(
                    f"{where}: {name} is an axis and is set by {axis.name} {label!r} "
                    "too: leave one of the two out, or put them side by side in a Zip"
                )


def _check_zip(axis: Zip, where: str) -> None:
    inner = _of_kind(
        axis.axes, (Grid, Files), f"{where}: Zip.axes", "@sweeps.Grid() or Files()"
    )
    if not inner:
        raise ConfigError(f"{where}: Zip.axes is empty: give it axes of one length")
    lengths = {part.name: len(part.values) for part in inner}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ConfigError(
            f"{where}: the axes of a Zip go together value by value, and {told} values"
        )


def _check_axis(axis: Any, where: str) -> None:
    name = axis.name
    pattern = _FILES if isinstance(axis, Files) else _BINDING
    if not (isinstance(name, str) and pattern.fullmatch(name)):
        raise ConfigError(f"{where}: {name!r} can be no axis's name")
    where = f"{where}, axis {name}"
    if is_range(axis):
        _check_range(axis, where)
        return
    wanted = dict if isinstance(axis, Files) else (list, tuple)
    if not isinstance(axis.values, wanted):
        kind = "a dictionary by label" if isinstance(axis, Files) else "a list"
        raise ConfigError(f"{where}: values = {axis.values!r:.80} must be {kind}")
    if not axis.values:
        raise ConfigError(f"{where} has no values")
    if isinstance(axis, Files):
        for label, value in axis.values.items():
            _check_words(label, value, where)
        return
    _refuse_twice(map(repr, axis.values), f"{where} twice has the value")
    if isinstance(axis, Seeds) and any(type(seed) is not int for seed in axis.values):
        raise ConfigError(f"{where}: seeds are whole numbers, got {axis.values!r}")


def _check_words(label: Any, value: Any, where: str) -> None:
    if not isinstance(label, str) or not label.strip():
        raise ConfigError(f"{where}: the label {label!r} must be a text")
    for word in words_of(value) if isinstance(value, str | list | tuple) else [value]:
        is_word = isinstance(word, str) and (word.endswith(".gin") or "=" in word)
        if not is_word:
            raise ConfigError(
                f"{where}, {label!r}: {word!r} is neither a file that ends in .gin nor "
                "a binding, 'NAME = VALUE'"
            )


def _check_range(axis: Uniform | Integers, where: str) -> None:
    wanted = int if isinstance(axis, Integers) else (int, float)
    for bound in (axis.low, axis.high):
        if isinstance(bound, bool) or not isinstance(bound, wanted):
            kind = "whole numbers" if isinstance(axis, Integers) else "numbers"
            raise ConfigError(f"{where}: low and high must be {kind}, got {bound!r}")
    if not axis.low < axis.high:
        raise ConfigError(f"{where}: low = {axis.low} must be below high = {axis.high}")
    if axis.log and not axis.low > 0:
        raise ConfigError(f"{where}: log needs low above 0, got {axis.low}")
    step = axis.step
    if step is not None and not step > 0:
        raise ConfigError(f"{where}: step must be above 0, got {step}")
    if axis.log and step is not None and (step != 1 or isinstance(axis, Uniform)):
        raise ConfigError(f"{where}: step does not go with log; leave one out")


def _check_search(stage: Stage) -> None:
    ranges = [axis.name for axis in plain_axes(stage.axes) if is_range(axis)]
    if ranges and stage.search is None:
        raise ConfigError(
            f"stage {stage.name}: {', '.join(ranges)} is a range, from which a search "
            "draws: set search = @sweeps.Search(), or take a Grid"
        )
    if stage.search is not None and not ranges:
        raise ConfigError(
            f"stage {stage.name} has a search and no range (Uniform, Integers) to draw "
            "from: leave search out, or give it one"
        )


def _check_names_in(
    stage: Stage, earlier: Sequence[Stage], later: Sequence[Stage]
) -> None:
    axes = {x.name for x in plain_axes(stage.axes) if isinstance(x, Files)}
    known = [other.name for other in earlier]
    where = f"stage {stage.name}"
    late = {stage.name, *(other.name for other in later)}
    values: list[Any] = [stage.bindings]
    for axis in plain_axes(stage.axes):
        if not is_range(axis):
            values.append(axis.values)
    for name in [*names_in(list(stage.gin_files)), *names_in(values)]:
        if name in late and name not in known and name not in axes:
            raise ConfigError(
                f"{where}: ${name} is the run of a stage that is not done before this "
                f"one; those before are {', '.join(known) or 'none'}"
            )
    for name in names_in(list(stage.gin_files)):
        if name not in axes:
            raise ConfigError(
                f"{where}: ${name} among its gin files is no axis of files: all gin files "
                "are read before anything runs, so that only its axes' can stand there; "
                "an earlier run's folder is for values of bindings"
            )
    check_known(names_in(values), known, where)


def _of_kind(values: Any, kinds: Any, setting: str, example: str) -> Sequence[Any]:
    """The values, all of some classes."""
    if not isinstance(values, list | tuple):
        raise ConfigError(f"{setting} = {values!r:.80} must be a list, as [{example}]")
    for value in values:
        if not isinstance(value, kinds):
            raise ConfigError(f"{setting}: {value!r:.80} must be as {example}")
    return values


def _refuse_twice(names: Iterable[str], what: str) -> None:
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise ConfigError(f"{what} {name}")
