"""What a search does as its trials run: it draws their settings, and ends bad ones early.

A search's trials are planned without a setting, as places in its order, and draw one when
they are begun. So a storage knows from the start how many there will be, workers that come
at once draw different ones, and a search that is given more trials later goes on.
"""

import contextlib
import dataclasses
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dro_jax.errors import Pruned
from dro_jax.sweeps.drawing import Tried, draw
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.prompt_rewards import rewards_by_prompt
from dro_jax.sweeps.pruning import Curve, reason_not_to_run, reason_to_end
from dro_jax.sweeps.ranges import Range, distribution_of
from dro_jax.sweeps.search_checks import check_logged
from dro_jax.sweeps.search_places import Chosen, Compose, Place, placed
from dro_jax.sweeps.sweep import Pruning, Stage, Sweep

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from dro_jax.sweeps.tries import Tries


class Searches:
    """The searches and prunings of a sweep, as its store calls them (`SearchHooks`).

    Args:
      sweep: its description.
      searched: of each stage with ranges the combinations of its other axes.
      compose: a trial of a stage from a combination with values of all axes.

    Attributes:
      folder: the sweep's, where evaluations are; None, nothing is pruned by these.
      keys: of the plan's trials, which alone are rivals; None, all of the storage.
    """

    def __init__(
        self,
        sweep: Sweep,
        searched: Mapping[str, Sequence[Chosen]],
        compose: Compose,
    ):
        self._stages = {stage.name: stage for stage in sweep.stages}
        self._has_evaluation = sweep.evaluation is not None
        self.folder: pathlib.Path | None = None
        self.keys: frozenset[str] | None = None
        self._compose = compose
        # What is given differs between conditions, and so do losses.
        self._prunings = {
            stage.name: dataclasses.replace(
                stage.pruning, within=(*stage.pruning.within, *sweep.conditions)
            )
            for stage in sweep.stages
            if stage.pruning is not None
        }
        self._judged: set[str] = set()
        self._places: dict[str, Place] = {}
        self._planned: dict[str, list[PlannedTrial]] = {}
        for stage in sweep.stages:
            if stage.name in searched:
                planned, places = placed(stage, searched[stage.name], compose)
                self._planned[stage.name] = planned
                self._places |= places

    def planned(self, stage: str) -> list[PlannedTrial]:
        """A searching stage's trials, to be added to the store: one for each place."""
        return self._planned[stage]

    def draws(self, key: str) -> bool:
        """Whether the trial of a key has a setting drawn for it."""
        return key in self._places

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

    def _settings(self, study: Any, place: Place) -> dict[int, Tried]:
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
        check_logged(stage, metrics, is_evaluated=self._is_evaluated(stage))
        pruning = self._prunings.get(stage.name)
        if pruning is None:
            return
        rows = study.get_trials(deepcopy=False)
        if pruning.over == "prompts":
            self._judge_setting(pruning, rows, planned)
        elif pruning.metric in metrics:
            self._judge(pruning, rows, trial, planned, step, metrics[pruning.metric])

    def _judge(
        self,
        pruning: Pruning,
        rows: "Sequence[FrozenTrial]",
        trial: Any,
        planned: PlannedTrial,
        step: int,
        value: float,
    ) -> None:
        """Keeps a value for others, and raises Pruned where it is worse than theirs."""
        points = dict(rows[trial.number].intermediate_values)
        if step not in points:  # a run that goes on tells some again
            points[step] = value
            trial.report(value, step)
        own = Curve(planned.values, planned.seed_axis, "running", points)
        reason = reason_to_end(pruning, own, self._others(rows, planned), max(points))
        if reason is not None:
            raise Pruned(reason)

    def _judge_setting(
        self, pruning: Pruning, rows: "Sequence[FrozenTrial]", planned: PlannedTrial
    ) -> None:
        """Raises Pruned where the setting's seeds that are done say enough, once a run."""
        if self.folder is None or planned.key in self._judged:
            return
        self._judged.add(planned.key)

        def rewards(one: Curve) -> Mapping[str, float]:
            return rewards_by_prompt(self.folder / one.folder, pruning.metric)

        own = Curve(planned.values, planned.seed_axis)
        others = self._others(rows, planned)
        reason = reason_not_to_run(pruning, own, others, rewards)
        if reason is not None:
            raise Pruned(reason)

    def _others(
        self, rows: "Sequence[FrozenTrial]", planned: PlannedTrial
    ) -> list[Curve]:
        """The other trials of its stage."""
        from dro_jax.sweeps.tries import by_key

        return [
            _curve(one)
            for one in by_key(rows)
            if one.planned.stage == planned.stage
            and one.planned.key != planned.key
            # An earlier version of the sweep's file may have left others.
            and (self.keys is None or one.planned.key in self.keys)
        ]

    def _is_evaluated(self, stage: Stage) -> bool:
        return self._has_evaluation and stage.evaluated


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
    return Curve(planned.values, planned.seed_axis, trial.state, points, trial.folder)


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
