"""What a search does as its trials run: it draws their settings, and ends bad ones early.

A search's trials are planned without a setting, as places in its order, and draw one when
they are begun. So a storage knows from the start how many there will be, workers that come
at once draw different ones, and a search that is given more trials later goes on.
"""

import contextlib
import dataclasses
import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from dro_jax.errors import Pruned
from dro_jax.messages import note
from dro_jax.plurals import counted
from dro_jax.sweeps.axes import Integers, Uniform
from dro_jax.sweeps.drawing import Tried, draw
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.pruning import Curve, reason_to_end
from dro_jax.sweeps.ranges import Range, distribution_of, num_settings
from dro_jax.sweeps.search_checks import check_logged, check_stage
from dro_jax.sweeps.sweep import Stage, Sweep

if TYPE_CHECKING:
    from dro_jax.sweeps.tries import Tries

PLACE = "draw"  # what labels call a trial's place before it has a setting


class Chosen(Protocol):
    """A value of each axis but the ranges (`combinations.Combination`)."""

    def drawn(self, values: Mapping[str, Any]) -> Self:
        """With values of the ranges."""


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a trial stands in a search.

    Attributes:
      stage: its stage.
      group: of trials that are one search, whatever their seeds.
      number: of the setting.
      chosen: the values of the other axes.
      ranges: those with an effect on it.
    """

    stage: Stage
    group: str
    number: int
    chosen: Chosen
    ranges: Sequence[Range]


class Searches:
    """The searches and prunings of a sweep, as its store calls them (`SearchHooks`).

    Args:
      sweep: its description.
      searched: of each stage with ranges the combinations of its other axes.
      compose: a trial of a stage from a combination with values of all axes.

    Raises:
      ConfigError: a setting cannot be used.
    """

    def __init__(
        self,
        sweep: Sweep,
        searched: Mapping[str, Sequence[Chosen]],
        compose: Callable[[str, Any], PlannedTrial],
    ):
        self._stages = {stage.name: stage for stage in sweep.stages}
        self._is_evaluated = sweep.evaluation is not None
        self._compose = compose
        self._places: dict[str, _Place] = {}
        self._planned: dict[str, dict[str, PlannedTrial]] = {}
        for stage in sweep.stages:
            check_stage(stage)
            if stage.name in searched:
                self._planned[stage.name] = self._plan(stage, searched[stage.name])

    def planned(self, stage: str) -> list[PlannedTrial]:
        """A searching stage's trials, to be added to the store: one for each place."""
        return list(self._planned[stage].values())

    def _plan(
        self, stage: Stage, searched: Sequence[Chosen]
    ) -> dict[str, PlannedTrial]:
        found: dict[str, PlannedTrial] = {}
        # All objectives' first settings, all their second ones, …
        for number in range(stage.search.num_trials):
            for chosen in searched:
                trial = self._at(stage, chosen, number)
                if trial is not None:
                    found.setdefault(trial.key, trial)
        return found

    def _at(self, stage: Stage, chosen: Chosen, number: int) -> PlannedTrial | None:
        ranges = [axis for axis in stage.axes if isinstance(axis, Uniform | Integers)]
        one = self._compose(
            stage.name, chosen.drawn({axis.name: axis.low for axis in ranges})
        )
        ranges = [axis for axis in ranges if axis.name in one.values]
        if not ranges:
            return one  # nothing is to be drawn for it: a trial like any other
        most = num_settings(ranges)
        if most is not None and number >= most:
            if number == most:
                note(
                    f"stage {stage.name}: {_named(ranges)} has only "
                    f"{counted(most, 'setting')}, so no {number + 1} are drawn"
                )
            return None
        drawn = {axis.name for axis in ranges}
        values = {name: x for name, x in one.values.items() if name not in drawn}
        others = {name: x for name, x in values.items() if name != one.seed_axis}
        key = _digest(one.key, ranges, number)
        self._places[key] = _Place(
            stage, repr(sorted(others.items())), number, chosen, ranges
        )
        return dataclasses.replace(
            one,
            key=key,
            label=_label(values, number, one.seed_axis),
            values=values,
            bindings=(),
        )

    def draw(self, study: Any, trial: Any, planned: PlannedTrial) -> PlannedTrial:
        """As `SearchHooks.draw`."""
        place = self._places.get(planned.key)
        if place is None:
            return planned
        tried = self._settings(study, place)
        # Its seeds share a setting, which the first of them draws.
        own = tried.pop(place.number, None)
        values = own.values if own is not None else None
        if values is None:
            before = [tried[number] for number in sorted(tried)]
            group = f"{place.stage.name} {place.group}"
            values = draw(place.stage.search, group, place.ranges, before)
        _keep_for_optuna(trial, place.ranges, values)
        composed = self._compose(place.stage.name, place.chosen.drawn(values))
        return dataclasses.replace(composed, key=planned.key)

    def tried(self, study: Any, stage: str) -> Mapping[str, list[Tried]]:
        """The settings that a stage's searches have drawn, by the label of their group."""
        found = {}
        for place in self._places.values():
            if place.stage.name == stage and place.group not in found:
                settings = self._settings(study, place)
                found[place.group] = [settings[number] for number in sorted(settings)]
        return found

    def _settings(self, study: Any, place: _Place) -> dict[int, Tried]:
        """The settings drawn for the search of a place, by their numbers."""
        from dro_jax.sweeps.tries import by_key

        seeds: dict[int, list[Tries]] = {}
        for trial in by_key(study.get_trials(deepcopy=False)):
            other = self._places.get(trial.planned.key)
            if other is None or (other.stage, other.group) != (
                place.stage,
                place.group,
            ):
                continue
            seeds.setdefault(other.number, []).append(trial)
        found = {number: _tried(own, place.ranges) for number, own in seeds.items()}
        return {number: one for number, one in found.items() if one is not None}

    def report(
        self,
        study: Any,
        trial: Any,
        planned: PlannedTrial,
        step: int,
        metrics: Mapping[str, float],
    ) -> None:
        """As `SearchHooks.report`."""
        stage = self._stages.get(planned.stage)
        if stage is None:
            return
        is_evaluated = self._is_evaluated and stage.evaluated
        check_logged(stage, metrics, is_evaluated=is_evaluated)
        pruning = stage.pruning
        if pruning is None or pruning.metric not in metrics:
            return
        from dro_jax.sweeps.tries import by_key

        rows = study.get_trials(deepcopy=False)
        points = dict(rows[trial.number].intermediate_values)
        if step not in points:  # a run that goes on tells some again
            points[step] = metrics[pruning.metric]
            trial.report(points[step], step)
        own = Curve(planned.values, planned.seed_axis, "running", points)
        others = [
            _curve(one)
            for one in by_key(rows)
            if one.planned.stage == stage.name and one.planned.key != planned.key
        ]
        reason = reason_to_end(pruning, own, others, max(points))
        if reason is not None:
            raise Pruned(reason)


def _tried(seeds: "Sequence[Tries]", ranges: Sequence[Range]) -> Tried | None:
    """A setting by the trials of its seeds; None where none has drawn it yet."""
    drawn = [one.planned.values for one in seeds]
    drawn = [one for one in drawn if all(axis.name in one for axis in ranges)]
    if not drawn:
        return None
    values = {axis.name: drawn[0][axis.name] for axis in ranges}
    states = {one.state for one in seeds}
    if states & {"waiting", "running"}:
        return Tried(values)
    if "pruned" in states:
        return Tried(values, "pruned")
    found = [x for one in seeds for x in one.deciding.values or () if x is not None]
    if not found:
        return Tried(values, "failed")
    return Tried(values, "complete", statistics.fmean(found))


def _curve(trial: "Tries") -> Curve:
    planned = trial.planned
    points = trial.deciding.intermediate_values
    return Curve(planned.values, planned.seed_axis, trial.state, points)


def _keep_for_optuna(trial: Any, ranges: Sequence[Range], values: Mapping) -> None:
    """Optuna's own tools, as its dashboard, show a trial's parameters."""
    for axis in ranges:
        space = distribution_of(axis)
        # It refuses a name that another stage gave another kind of range.
        with contextlib.suppress(ValueError):
            trial.storage.set_trial_param(
                trial._trial_id,
                axis.name,
                space.to_internal_repr(values[axis.name]),
                space,
            )


def _label(values: Mapping[str, Any], number: int, seed_axis: str | None) -> str:
    parts = [
        str(x) if isinstance(x, str) else f"{name.rpartition('.')[2]} {x}"
        for name, x in values.items()
        if name != seed_axis
    ]
    parts.append(f"{PLACE} {number}")
    if seed_axis in values:
        parts.append(f"seed {values[seed_axis]}")
    return " · ".join(parts)


def _named(ranges: Sequence[Range]) -> str:
    return " × ".join(axis.name for axis in ranges)


def _digest(key: str, ranges: Sequence[Range], number: int) -> str:
    text = repr((key, list(ranges), number))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
