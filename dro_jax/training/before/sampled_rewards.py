"""Rewards of samples of the reference, looked up by prompt."""

import numpy as np

from dro_jax.errors import DataError
from dro_jax.plurals import counted


class SampledRewards:
    """Rewards of the reference's samples by prompt.

    Args:
      hashes: ``[P]`` of the split's different prompts.
      positions: ``[P]`` ascending, of their first records among the split's.
      rewards: ``[P, n]`` float32; NaN for prompts that were not asked.

    Attributes:
      num_samples: n.
    """

    def __init__(self, hashes: np.ndarray, positions: np.ndarray, rewards: np.ndarray):
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]
        self._positions, self._rewards = positions, rewards
        self.num_samples = rewards.shape[1]

    def of(self, hashes: np.ndarray) -> np.ndarray:
        """``[…, n]`` float32 rewards of prompts by their hashes.

        Raises:
          DataError: a prompt has no samples.
        """
        found = np.searchsorted(self._sorted, hashes)
        found = np.minimum(found, len(self._sorted) - 1)
        rewards = np.asarray(self._rewards[self._order[found]])
        missing = (self._sorted[found] != hashes) | np.isnan(rewards[..., 0])
        if missing.any():
            raise DataError(
                "the samples of the reference lack "
                f"{counted(np.unique(hashes[missing]).size, 'prompt')} of the split: they "
                "were drawn for other data"
            )
        return rewards

    def is_first(self, entries: np.ndarray) -> np.ndarray:
        """Which records of the split, by their numbers, are their prompts' first."""
        found = np.searchsorted(self._positions, entries)
        found = np.minimum(found, len(self._positions) - 1)
        return self._positions[found] == entries
