"""Figures of a split's rewards, to be shown and to be kept with a run."""

import dataclasses
from typing import Any

import numpy as np

_BINS = 30
_MOST_VALUES = 12
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


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
        """From float64 values ``[N]``, N at least 1."""
        levels = np.quantile(values, QUANTILES)
        return cls(
            count=int(values.size),
            mean=float(np.mean(values)),
            std=float(np.std(values)),
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
        values, counts = np.unique(rewards, return_counts=True)
        if len(values) <= _MOST_VALUES:
            return cls(tuple(counts.tolist()), values=tuple(values.tolist()))
        counts, edges = np.histogram(rewards.astype(np.float64), bins=_BINS)
        return cls(tuple(counts.tolist()), edges=tuple(edges.tolist()))


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
