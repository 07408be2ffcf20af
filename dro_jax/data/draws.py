"""Which records of a split are drawn, and how often, where not all are alike."""

import dataclasses

import numpy as np
import tensorflow as tf

from dro_jax.data.ordering import Choices, order_key
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
        if not np.any(self.weights > 0):
            raise DataError(
                f"none of the {len(self.weights)} records has a positive weight, so "
                "there is nothing to draw"
            )

    def positions(self, sizes: list[int]) -> tuple[np.ndarray, list[int]]:
        """The records that are drawn, and how many there are of each component."""
        drawn = np.flatnonzero(self.weights > 0)
        ends = np.searchsorted(drawn, np.cumsum(sizes))
        return drawn, np.diff(np.r_[0, ends]).tolist()


def weighted_order(weights: np.ndarray, *, seed: int, start: int) -> tf.data.Dataset:
    """Positions drawn with replacement, p ∝ weight, without end: a function of the seed.

    Args:
      weights: ``[R]`` 0 or more.
      seed: decides everything.
      start: the number of draws to leave out at the beginning.
    """
    shares = weights / np.sum(weights, dtype=np.float64)
    return Choices(shares, order_key(seed, "drawing")).after(start)
