"""What a reward is to those who ask for scores."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from dro_jax.errors import DataError


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of N responses.

    Attributes:
      total: ``[N]`` float64 rewards, the higher the better.
      parts: ``[N]`` each, by name: what the total is made of, in units of their own.
        Empty where it has no parts.

    Raises:
      DataError: shapes differ, or a number is not finite.
    """

    total: np.ndarray
    parts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name, numbers in {"total": self.total, **self.parts}.items():
            if numbers.shape != (len(self.total),):
                raise DataError(
                    f"a reward gave {numbers.shape} numbers for '{name}', where there "
                    f"are {len(self.total)} responses"
                )
            if not np.isfinite(numbers).all():
                row = int(np.flatnonzero(~np.isfinite(numbers))[0])
                raise DataError(
                    f"a reward gave {numbers[row]} for '{name}' of response {row}: "
                    "scores must be finite numbers"
                )


class Reward(Protocol):
    """Scores responses; a batch at a time, each response by itself or all together.

    Attributes:
      name: what tables and logs call it, as `helpfulness`.
      fingerprint: a digest of all that its scores depend on beside prompt and response
        (parameters, settings, version); what is cached under it is never scored again.
    """

    name: str
    fingerprint: str

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Scores of N responses, each to the prompt at its place."""
        ...
