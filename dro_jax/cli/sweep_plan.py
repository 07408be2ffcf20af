"""All trials of a sweep, put together and checked before the first one runs."""

import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.cli.sweep_composition import STEPS, Composed, Composer
from dro_jax.cli.sweep_shared import shared_settings
from dro_jax.errors import ConfigError
from dro_jax.sweeps.axes import Files
from dro_jax.sweeps.building import built_on
from dro_jax.sweeps.checks import check_sweep
from dro_jax.sweeps.combinations import Combination, combinations, is_range, plain_axes
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.labels import label_of
from dro_jax.sweeps.names import names_in
from dro_jax.sweeps.results import SweptTrial
from dro_jax.sweeps.search import Searches
from dro_jax.sweeps.sweep import Evaluation, Stage, Sweep


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep runs.

    Attributes:
      sweep: as it was described.
      trials: of each stage by its name, in the order in which they are run; those of a
        search have no setting yet.
      searches: draws settings, and ends trials early, as the store calls for it.
    """

    sweep: Sweep
    trials: Mapping[str, Sequence[PlannedTrial]]
    searches: Searches

    @property
    def stages(self) -> list[str]:
        """Their names, in order."""
        return [stage.name for stage in self.sweep.stages]

    @property
    def asked(self) -> dict[str, list[str]]:
        """By stage, the keys of its trials in their order."""
        return {stage: [x.key for x in own] for stage, own in self.trials.items()}

    @property
    def keys(self) -> frozenset[str]:
        """Of all trials."""
        return frozenset(self._by_key)

    @functools.cached_property
    def _by_key(self) -> dict[str, PlannedTrial]:
        return {one.key: one for own in self.trials.values() for one in own}

    def as_asked(self, planned: PlannedTrial) -> PlannedTrial:
        """A storage's trial with the files and bindings that this plan has for it.

        They may have moved, or say otherwise how often it is saved, since an earlier
        plan added it; its label, which names its folder, stays.
        """
        own = self._by_key.get(planned.key)
        if own is None or self.searches.draws(own.key):
            return planned
        return dataclasses.replace(
            planned, gin_files=own.gin_files, bindings=own.bindings
        )

    def as_told(self, trial: SweptTrial) -> SweptTrial:
        """A storage's trial by the labels and axes that this plan has for it."""
        own = self._by_key.get(trial.key)
        if own is None or self.searches.draws(own.key):
            return trial
        return dataclasses.replace(
            trial,
            label=own.label,
            values=own.values,
            unused=tuple(own.unused),
            seed_axis=own.seed_axis,
        )


class Planner:
    """Plans a sweep.

    Args:
      sweep: its description.
      search_paths, allow_imports: as for `gin_setup.parse`.
      elsewhere: folders of the hosts where it will run; what lies in them is not looked
        for here.

    Raises:
      ConfigError: the sweep cannot be planned.
    """

    def __init__(
        self,
        sweep: Sweep,
        search_paths: str = "",
        allow_imports: Sequence[str] = (),
        *,
        elsewhere: Sequence[str] = (),
    ):
        check_sweep(sweep)
        self._sweep = sweep
        self._stages = {stage.name: stage for stage in sweep.stages}
        self._composer = Composer(search_paths, allow_imports, elsewhere)
        self._trials: dict[str, list[PlannedTrial]] = {}

    def plan(self) -> Plan:
        """All trials, each checked as far as its files tell.

        Raises:
          ConfigError: one cannot be run, by its label; a setting has an effect on no
            trial; two values of an axis of files make the same run.
        """
        searched, last = {}, []
        for stage in self._sweep.stages:
            choices = combinations(stage)
            if any(map(is_range, plain_axes(stage.axes))):
                searched[stage.name] = choices
                # One of each, so that what is misspelt is refused now.
                choices = [one.drawn(_lowest(stage)) for one in choices]
            found = [self._planned(stage, one) for one in choices]
            last = [composed for _, composed in found]
            _refuse_unused(stage, last, self._composer)
            self._trials[stage.name] = _distinct(stage, [one for one, _ in found])
            if stage.name in searched:
                self._trials[stage.name] = []
        if self._sweep.evaluation is not None:
            self._check_evaluation(self._sweep.evaluation, last)
        searches = Searches(self._sweep, searched, self.trial)
        for name in searched:
            self._trials[name] = searches.planned(name)
        plan = Plan(self._sweep, dict(self._trials), searches)
        searches.keys = plan.keys
        return plan

    def _check_evaluation(
        self, evaluation: Evaluation, trials: Sequence[Composed]
    ) -> None:
        self._composer.check_evaluation(evaluation, trials)
        for name in names_in(evaluation.bindings):
            count = len(self._trials.get(name, [None]))
            if count != 1:
                raise ConfigError(
                    f"Sweep.evaluation: ${name} must be one run, and the stage {name} has "
                    f"{count}"
                )

    def trial(self, stage: str, combination: Combination) -> PlannedTrial:
        """The trial of one combination, as of what a search drew.

        Raises:
          ConfigError: it cannot be run.
        """
        return self._planned(self._stages[stage], combination)[0]

    def _planned(
        self, stage: Stage, combination: Combination
    ) -> tuple[PlannedTrial, Composed]:
        composed = self._composer.composed(stage, combination)
        budgeted = stage is self._sweep.stages[-1] and self._sweep.budget_tokens
        if budgeted and STEPS in combination.settings:
            raise ConfigError(
                f"stage {stage.name}: {STEPS} is an axis, and Sweep.budget_tokens says how "
                "long its runs train: leave one of the two out"
            )
        files = [
            axis.name for axis in plain_axes(stage.axes) if isinstance(axis, Files)
        ]
        whole = label_of(stage.name, combination.values, files, combination.seed_axis)
        builds_on = self._builds_on(composed, combination, whole)
        values = _with_effect(composed, combination, builds_on)
        label = label_of(stage.name, values, files, combination.seed_axis)
        self._composer.check(composed, label, [f"{STEPS} = 1"] if budgeted else [])
        keys = {name: one.key for name, one in builds_on.items()}
        shared = shared_settings(composed, keys)
        seed = combination.seed_axis
        planned = PlannedTrial(
            stage=stage.name,
            key=self._key(stage, composed, values, files, keys),
            label=label,
            values=values,
            gin_files=composed.gin_files,
            bindings=(*composed.bindings, *shared),
            unused=tuple(dict.fromkeys(one.name for one in composed.unused)),
            seed_axis=seed if seed in values else None,
            builds_on=keys,
            metric=None if stage.search is None else stage.search.metric,
        )
        return planned, composed

    def _builds_on(
        self, composed: Composed, combination: Combination, label: str
    ) -> dict[str, PlannedTrial]:
        names = dict.fromkeys(
            name for own in composed.used for name in names_in(own.text)
        )
        return {
            name: built_on(label, combination.values, name, self._trials[name])
            for name in names
            if name in self._trials
        }

    def _key(
        self,
        stage: Stage,
        composed: Composed,
        values: Mapping[str, Any],
        files: Sequence[str],
        builds_on: Mapping[str, str],
    ) -> str:
        last = stage is self._sweep.stages[-1]
        parts = (
            stage.name,
            composed.effect.settings,
            # Labels may change; and what they stand for is among the settings.
            sorted((name, repr(x)) for name, x in values.items() if name not in files),
            sorted(builds_on.items()),
            self._sweep.budget_tokens if last else None,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _with_effect(
    composed: Composed,
    combination: Combination,
    builds_on: Mapping[str, PlannedTrial],
) -> dict[str, Any]:
    """The values of the axes that make a difference to a trial."""
    unused = {own.source for own in composed.unused if own.source == own.name}
    chosen = {axis for one in builds_on.values() for axis in one.values}
    return {
        axis: value
        for axis, value in combination.values.items()
        if axis not in unused or axis in chosen
    }


def _lowest(stage: Stage) -> dict[str, Any]:
    return {axis.name: axis.low for axis in plain_axes(stage.axes) if is_range(axis)}


def _refuse_unused(
    stage: Stage, trials: Sequence[Composed], composer: Composer
) -> None:
    """Refuses a setting that has an effect on no trial of those that are given it."""
    used = {(own.name, own.source) for one in trials for own in one.used}
    for one in trials:
        for own in one.unused:
            # Of several labels, each has settings of its own.
            if (own.name, own.source) in used:
                continue
            near = difflib.get_close_matches(own.name, composer.near(one), n=1)
            meant = f"; did you mean {near[0]}?" if near else "."
            given = f"axis {own.source}" if own.source else "its bindings"
            raise ConfigError(
                f"stage {stage.name}, {given}: {own.name} has no effect on any trial"
                f"{meant} `dro-jax settings` lists the settings"
            )


def _distinct(stage: Stage, trials: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """Each trial once: an axis without effect on it makes no second one."""
    files = [axis.name for axis in plain_axes(stage.axes) if isinstance(axis, Files)]
    found: dict[str, PlannedTrial] = {}
    for one in trials:
        first = found.setdefault(one.key, one)
        for axis in files:
            if first.values.get(axis) != one.values.get(axis):
                raise ConfigError(
                    f"stage {stage.name}, axis {axis}: {first.values[axis]!r} and "
                    f"{one.values[axis]!r} make the same run ({one.label}): leave one out"
                )
    return list(found.values())
