"""What each value of a setting does, the other settings at their best."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.reporting.swept.choice import best
from dro_jax.reporting.swept.reading import key_of
from dro_jax.reporting.swept.settings import Cell, Setting

_MOST_VALUES = 10  # of a search more are drawn, each a setting of its own


@dataclasses.dataclass(frozen=True)
class AtValue:
    """What is reported at one value of an axis.

    Attributes:
      value: the axis'.
      setting: the best with it, by the half that chooses.
      figure, kl: of it, on the half that reports.
      by_seed: the figure of each of its runs.
    """

    value: Any
    setting: Setting
    figure: Estimate
    kl: Estimate | None
    by_seed: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Curve:
    """What one objective does along an axis.

    Attributes:
      cell: under which conditions.
      compared: the objective.
      axis: its name.
      points: by value.
      is_searched: whether each point is a setting of its own, as drawn from a range.
    """

    cell: Cell
    compared: str
    axis: str
    points: Sequence[AtValue]
    is_searched: bool = False

    @property
    def range(self) -> float:
        """The highest figure less the lowest."""
        values = [x.figure.value for x in self.points]
        return max(values) - min(values)


def swept_axes(cells: Sequence[Cell]) -> list[str]:
    """Names of the settings of which some objective has two values or more."""
    found: dict[str, None] = {}
    for cell in cells:
        for name in cell.compared:
            settings = cell.of(name)
            for axis in dict.fromkeys(x for own in settings for x in own.values):
                if len(_by_value(settings, axis)) > 1:
                    found[axis] = None
    return list(found)


def curve_of(cell: Cell, compared: str, axis: str, chooses: str) -> Curve | None:
    """Along one axis, at each value the best of the settings that have it.

    Returns:
      None where the axis has fewer than two values here.
    """
    groups = _by_value(cell.of(compared), axis)
    searched = len(groups) > _MOST_VALUES
    points = []
    for settings in groups.values():
        for own in [[x] for x in settings] if searched else [settings]:
            setting = best(own, chooses, cell.choosing)
            if setting is not None:
                points.append(_at(cell, setting, axis, chooses))
    if len({key_of(x.value) for x in points}) < 2:
        return None
    if all(_is_number(x.value) for x in points):
        points.sort(key=lambda x: x.value)
    return Curve(cell, compared, axis, points, searched)


def is_logarithmic(values: Sequence[Any]) -> bool:
    """Whether numbers lie on a line rather by their logarithms than by themselves."""
    numbers = sorted({float(x) for x in values if _is_number(x)})
    if len(numbers) < 2 or numbers[0] <= 0:
        return False
    if len(numbers) == 2:
        return numbers[1] / numbers[0] >= 5
    logs = [math.log(x) for x in numbers]
    return _unevenness(logs) < _unevenness(numbers)


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether all are numbers."""
    return all(map(_is_number, values))


def _at(cell: Cell, setting: Setting, axis: str, chooses: str) -> AtValue:
    return AtValue(
        setting.values[axis],
        setting,
        setting.estimate(chooses, cell.reporting),
        setting.estimate("kl", cell.reporting),
        setting.by_seed(chooses, cell.reporting),
    )


def _by_value(settings: Sequence[Setting], axis: str) -> dict[str, list[Setting]]:
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        if axis in setting.values:
            found.setdefault(key_of(setting.values[axis]), []).append(setting)
    return found


def _unevenness(numbers: Sequence[float]) -> float:
    """The largest step over the whole way: 1/(n - 1) where all are alike."""
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    return max(steps) / (numbers[-1] - numbers[0])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
