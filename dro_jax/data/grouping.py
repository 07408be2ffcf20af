"""Responses to one prompt, side by side: which records share a group."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from dro_jax.data.record_ids import PromptRecords
from dro_jax.errors import DataError

EMPTY = -1
Singles = Literal["keep", "drop"]


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """The groups of a split.

    Attributes:
      members: ``[G, K]`` int64, positions of records in the split, best first; then -1.
      num_prompts: different prompts.
      num_singles: groups of one response.
      num_dropped: those of them that were left out.
    """

    members: np.ndarray
    num_prompts: int
    num_singles: int
    num_dropped: int

    def to_json(self) -> dict[str, int]:
        """The counts."""
        return {
            "groups": len(self.members),
            "prompts": self.num_prompts,
            "groups of one response": self.num_singles,
            "dropped": self.num_dropped,
        }


def group_by_prompt(records: PromptRecords, size: int, singles: Singles) -> Groups:
    """Groups of at most `size` responses to one prompt.

    A prompt with more responses has several groups, cut in the order of its records, so
    that what was logged together stays together. Within a group the best response comes
    first; equal ones keep their order. Groups are in the order of their first records.

    Args:
      records: of one task's split, in its order.
      size: K.
      singles: `drop` leaves groups of one response out.

    Raises:
      DataError: no group is left.
    """
    order = np.argsort(records.prompts, kind="stable")
    prompts = records.prompts[order]
    starts = np.flatnonzero(np.r_[True, prompts[1:] != prompts[:-1]])
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    groups = np.cumsum(within % size == 0) - 1
    ranked = np.lexsort((order, -records.rewards[order], groups))
    order, groups = order[ranked], groups[ranked]
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    members = np.full((len(first), size), EMPTY, np.int64)
    members[groups, np.arange(len(order)) - first[groups]] = order
    earliest = np.where(members == EMPTY, len(order), members).min(axis=1)
    members = members[np.argsort(earliest)]
    single = (members != EMPTY).sum(axis=1) == 1
    kept = members[~single] if singles == "drop" else members
    if not len(kept):
        raise DataError(
            f"none of the {len(starts)} prompts has more than one response, so nothing "
            "is left once such prompts are dropped: set single_responses = 'keep', or "
            "use an objective of single responses"
        )
    return Groups(kept, len(starts), int(single.sum()), len(members) - len(kept))


def end_to_end(members: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Members of several splits' groups, as positions in the splits laid end to end."""
    begins = np.cumsum([0, *sizes[:-1]])
    return np.concatenate(
        [
            np.where(own == EMPTY, EMPTY, own + begin)
            for own, begin in zip(members, begins, strict=True)
        ]
    )
