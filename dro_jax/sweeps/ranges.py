"""Ranges of a search as Optuna takes them, and how many settings they hold."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dro_jax.sweeps.axes import Integers, Uniform

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Range = Uniform | Integers


def distribution_of(axis: Range) -> "BaseDistribution":
    """A range as Optuna draws from it."""
    from optuna import distributions

    if isinstance(axis, Integers):
        return distributions.IntDistribution(
            axis.low, axis.high, log=axis.log, step=axis.step
        )
    return distributions.FloatDistribution(
        axis.low, axis.high, log=axis.log, step=axis.step
    )


def told(axis: Range, value: float) -> float:
    """A value as it is written: four digits of a number tell all that matters of it."""
    if axis.step is not None:
        # Steps add up to 0.30000000000000004.
        return type(value)(f"{value:.12g}")
    return min(max(float(f"{value:.4g}"), axis.low), axis.high)


def num_settings(ranges: Sequence[Range]) -> int | None:
    """How many settings there are; None, without end."""
    counts = [_count(axis) for axis in ranges]
    return None if None in counts else math.prod(counts)


def settings(ranges: Sequence[Range]) -> Iterator[Mapping[str, float | int]]:
    """All settings of ranges that have an end, the last range varying fastest."""
    values = [
        [axis.low + n * axis.step for n in range(_count(axis))] for axis in ranges
    ]
    for choice in itertools.product(*values):
        yield {axis.name: x for axis, x in zip(ranges, choice, strict=True)}


def _count(axis: Range) -> int | None:
    if axis.step is None:
        return None
    # A high that is no step of the grid is not drawn; 1e-9 is for 0.3 / 0.1.
    return math.floor((axis.high - axis.low) / axis.step + 1e-9) + 1
