"""The places of a search's trials, which are planned before they have a setting."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from dro_jax.messages import note
from dro_jax.plurals import counted
from dro_jax.sweeps.axes import Integers, Uniform
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.ranges import Range, num_settings
from dro_jax.sweeps.sweep import Stage

PLACE = "draw"  # what labels call it


class Chosen(Protocol):
    """A value of each axis but the ranges (`combinations.Combination`)."""

    def drawn(self, values: Mapping[str, Any]) -> Self:
        """With values of the ranges."""


@dataclasses.dataclass(frozen=True)
class Place:
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


Compose = Callable[[str, Any], PlannedTrial]


def placed(
    stage: Stage, searched: Sequence[Chosen], compose: Compose
) -> tuple[list[PlannedTrial], dict[str, Place]]:
    """A searching stage's trials, and the places of those that draw, by their keys.

    Args:
      stage: with ranges.
      searched: combinations of its other axes.
      compose: a trial from a combination with values of all axes.
    """
    found: dict[str, PlannedTrial] = {}
    places: dict[str, Place] = {}
    ranges = [axis for axis in stage.axes if isinstance(axis, Uniform | Integers)]
    lowest = {axis.name: axis.low for axis in ranges}
    trials = [compose(stage.name, chosen.drawn(lowest)) for chosen in searched]
    # All objectives' first settings, all their second ones, …
    for number in range(stage.search.num_trials):
        for chosen, one in zip(searched, trials, strict=True):
            drawn = [axis for axis in ranges if axis.name in one.values]
            if not drawn:
                # Nothing is to be drawn for it: a trial like any other.
                found[one.key] = one
            elif (place := _at(stage, chosen, one, drawn, number)) is not None:
                trial = _planned(one, place)
                found[trial.key], places[trial.key] = trial, place
    return list(found.values()), places


def _at(
    stage: Stage,
    chosen: Chosen,
    one: PlannedTrial,
    ranges: Sequence[Range],
    number: int,
) -> Place | None:
    """The place of a number; None, there are fewer settings."""
    most = num_settings(ranges)
    if most is not None and number >= most:
        if number == most:
            names = " × ".join(axis.name for axis in ranges)
            note(
                f"stage {stage.name}: {names} has only {counted(most, 'setting')}, and no "
                "more are drawn"
            )
        return None
    drawn = {axis.name for axis in ranges}
    group = sorted(
        (name, value)
        for name, value in one.values.items()
        if name not in drawn and name != one.seed_axis
    )
    return Place(stage, repr(group), number, chosen, ranges)


def _planned(one: PlannedTrial, place: Place) -> PlannedTrial:
    """The trial of a place, from one with some setting."""
    drawn = {axis.name for axis in place.ranges}
    values = {name: x for name, x in one.values.items() if name not in drawn}
    return dataclasses.replace(
        one,
        key=_digest(one.key, place.ranges, place.number),
        label=_label(values, place.number, one.seed_axis),
        values=values,
        bindings=(),
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


def _digest(key: str, ranges: Sequence[Range], number: int) -> str:
    text = repr((key, list(ranges), number))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
