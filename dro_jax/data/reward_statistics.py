"""Figures of a split's rewards, to be shown and to be kept with a run."""

import dataclasses
from typing import Any

import numpy as np

from dro_jax.data import scratch

_BINS = 30
_MOST_VALUES = 12
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, the population's, of float64 values ``[N]``.

    To the bit what `np.mean` and `np.std` give: these sum squares of an array of their
    own, which is a temporary file here.
    """
    mean = np.mean(values)
    squares = scratch.filled(
        len(values), np.float64, lambda part: np.square(values[part] - mean)
    )
    return float(mean), float(np.sqrt(np.mean(squares)))


@dataclasses.dataclass(frozen=True)
class Summary:
    """Figures of one set of numbers; std is the population's.

    Attributes:
      quantiles: pairs of (share of the numbers below, number).
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    quantiles: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, values: np.ndarray) -> "Summary":
        """From values ``[N]``, N at least 1; computed in float64."""
        # A copy, since it is partitioned in its place.
        copy = scratch.filled(len(values), np.float64, lambda part: values[part])
        mean, std = mean_and_std(copy)
        levels = np.quantile(copy, QUANTILES, overwrite_input=True)
        return cls(
            count=int(values.size),
            mean=mean,
            std=std,
            min=float(np.min(values)),
            max=float(np.max(values)),
            quantiles=tuple(zip(QUANTILES, map(float, levels), strict=True)),
        )


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts of rewards: by value where there are few, as of thumbs; else by bin.

    Attributes:
      counts: K counts.
      values: the K values, where there are few; else None.
      edges: the K + 1 edges of bins of one width; else None.
    """

    counts: tuple[int, ...]
    values: tuple[float, ...] | None = None
    edges: tuple[float, ...] | None = None

    @classmethod
    def of(cls, rewards: np.ndarray) -> "Histogram":
        """From rewards ``[N]``."""
        parts = list(scratch.chunks(len(rewards)))
        values = np.zeros(0, rewards.dtype)
        for part in parts:
            values = np.union1d(values, rewards[part])
            if len(values) > _MOST_VALUES:
                break
        else:
            # Each value's own bin, from it to the next.
            ends = np.r_[values.astype(np.float64), np.inf]
            counts = sum(np.histogram(rewards[part], ends)[0] for part in parts)
            return cls(tuple(counts.tolist()), values=tuple(values.tolist()))
        ends = np.linspace(float(rewards.min()), float(rewards.max()), _BINS + 1)
        counts = sum(
            np.histogram(rewards[part].astype(np.float64), _BINS, (ends[0], ends[-1]))[
                0
            ]
            for part in parts
        )
        return cls(tuple(counts.tolist()), edges=tuple(ends.tolist()))


@dataclasses.dataclass(frozen=True)
class RewardStatistics:
    """Rewards of one split before and after the transform.

    Attributes:
      task: the task's name.
      split: the split's name.
      transform: the transform, in words.
      recorded: the rewards as recorded, thumbs and Likert marks already numbers.
      transformed: the rewards that training sees.
      num_dropped: records left out as bad.
    """

    task: str
    split: str
    transform: str
    recorded: Summary
    transformed: Summary
    num_dropped: int

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON holds; quantiles as a mapping of text."""
        values = dataclasses.asdict(self)
        for name in ("recorded", "transformed"):
            values[name]["quantiles"] = {
                f"{level:g}": value for level, value in values[name]["quantiles"]
            }
        return values
