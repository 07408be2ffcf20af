"""Which records of a split are drawn, and how often, where not all are alike."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.ordering import Order
from dro_jax.data.permutation import keys_of, random_bits
from dro_jax.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Weights of a split's records.

    Attributes:
      weights: ``[R]`` 0 or more, in the order of `PromptRecords`.
      with_replacement: each record drawn by itself, by chance in proportion to its
        weight; else records of positive weight come once an epoch, all alike.

    Raises:
      DataError: no weight is positive.
    """

    weights: np.ndarray
    with_replacement: bool

    def __post_init__(self):
        if not self._num_positive:
            raise DataError(
                f"none of the {len(self.weights)} records has a positive weight, so "
                "there is nothing to draw"
            )

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """``[D]`` int64: the records of positive weight, ascending."""
        found, end = scratch.array(self._num_positive, np.int64), 0
        for part in scratch.chunks(len(self.weights)):
            drawn = part.start + np.flatnonzero(self.weights[part] > 0)
            found[end : end + len(drawn)] = drawn
            end += len(drawn)
        return found

    def counts(self, sizes: Sequence[int]) -> list[int]:
        """How many records of positive weight each of several tasks has."""
        ends = np.searchsorted(self.positions, np.cumsum(sizes))
        return np.diff(np.r_[0, ends]).tolist()

    @functools.cached_property
    def cumulative(self) -> np.ndarray:
        """``[R]`` float64: the sum of weights up to each record and with it."""
        sums, total = scratch.array(len(self.weights), np.float64), 0.0
        for part in scratch.chunks(len(self.weights)):
            sums[part] = total + np.cumsum(self.weights[part], dtype=np.float64)
            total = sums[part.stop - 1]
        return sums

    @functools.cached_property
    def _num_positive(self) -> int:
        parts = scratch.chunks(len(self.weights))
        return sum(int(np.sum(self.weights[part] > 0)) for part in parts)


@dataclasses.dataclass(frozen=True)
class WeightedOrder:
    """Records drawn with replacement, p ∝ weight, without end: a function of the seed.

    Attributes:
      draws: the weights.
      seed: decides everything.
    """

    draws: Draws
    seed: int

    def places(self, first: int, count: int) -> np.ndarray:
        numbers = np.arange(first, first + count).astype(np.uint64)
        bits = random_bits(keys_of(self.seed, "drawing", 1), numbers)
        uniform = (bits >> np.uint64(11)) * 2.0**-53  # in [0, 1), below the last sum
        sums = self.draws.cumulative
        return np.searchsorted(sums, uniform * sums[-1], side="right").astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """Some records in an order of their own.

    Attributes:
      order: of their numbers.
      positions: ``[D]`` which records these are.
    """

    order: Order
    positions: np.ndarray

    def places(self, first: int, count: int) -> np.ndarray:
        return self.positions[self.order.places(first, count)]
