"""What a judge is to those who compare policies."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from dro_jax.errors import DataError


class Pair(NamedTuple):
    """Two responses to one prompt."""

    prompt: str
    first: str
    second: str


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """What a judge says of N pairs.

    Attributes:
      preferences: ``[N]`` float64: 1 where the first response is better, 0 where the
        second is, 0.5 for a tie; between them, a probability. 0.5 where not answered.
      answered: ``[N]`` bool: whether the judge could say. Who counts leaves the others
        out, and says how many they are.

    Raises:
      DataError: shapes differ, or a preference is not in [0, 1].
    """

    preferences: np.ndarray
    answered: np.ndarray

    def __post_init__(self):
        if self.preferences.shape != self.answered.shape:
            raise DataError(
                f"a judge gave {self.preferences.shape} preferences and "
                f"{self.answered.shape} marks of which are answers"
            )
        # `not (…)`: a NaN is within no limits.
        if not ((0 <= self.preferences) & (self.preferences <= 1)).all():
            raise DataError("a judge's preferences must lie in [0, 1]")


class Judge(Protocol):
    """Compares two responses to each of several prompts.

    Attributes:
      name: what tables call it.
      fingerprint: a digest of all that its verdicts depend on beside the pair.
    """

    name: str
    fingerprint: str

    def __call__(self, pairs: Sequence[Pair]) -> Verdicts:
        """A verdict on each pair; the order of the two must make no difference."""
        ...
