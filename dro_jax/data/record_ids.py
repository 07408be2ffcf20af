"""Records as numbers, for arrays on the host: their ids, and which share a prompt."""

import dataclasses

import numpy as np


def join_ids(record_ids: np.ndarray) -> np.ndarray:
    """``[..., 2]`` int32 pairs (task fingerprint, record index) as one int64 each."""
    pairs = record_ids.astype(np.int64)
    return (pairs[..., 0] << 32) + pairs[..., 1]


@dataclasses.dataclass(frozen=True)
class PromptRecords:
    """A split's records by prompt.

    Attributes:
      ids: ``[R]`` int64, as :func:`join_ids` makes them.
      prompts: ``[R]`` integers, equal for responses to one prompt.
      rewards: ``[R]`` float32, as training sees them.
    """

    ids: np.ndarray
    prompts: np.ndarray
    rewards: np.ndarray
