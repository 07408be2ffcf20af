"""Responses to one prompt, side by side: which records share a group."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.packing import EMPTY
from dro_jax.data.prompt_records import prompt_records
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.truncation import counting
from dro_jax.errors import DataError

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
    # Equal prompts side by side, their records as they were: so do groups begin with
    # their first records, and only the best of each has to be found.
    order = np.argsort(records.prompts, kind="stable")
    begins, num_prompts = _begins(records.prompts, order, size)
    sizes = np.diff(np.r_[begins, len(order)])
    sequence = np.argsort(order[begins])
    if singles == "drop":
        sequence = sequence[sizes[sequence] > 1]
    if not len(sequence):
        raise DataError(
            f"none of the {num_prompts} prompts has more than one response, so nothing "
            "is left once such prompts are dropped: set single_responses = 'keep', or "
            "use an objective of single responses"
        )
    members = scratch.array((len(sequence), size), np.int64)
    for part in scratch.chunks(len(sequence)):
        groups = sequence[part]
        within = counting(sizes[groups])
        rows = np.repeat(np.arange(len(groups)), sizes[groups])
        positions = order[np.repeat(begins[groups], sizes[groups]) + within]
        best_first = np.lexsort((-records.rewards[positions], rows))  # is stable
        ranked = np.full((len(groups), size), EMPTY, np.int64)
        ranked[rows, within] = positions[best_first]
        members[part] = ranked
    num_singles = int(np.sum(sizes == 1))
    return Groups(members, num_prompts, num_singles, len(begins) - len(sequence))


def _begins(
    prompts: np.ndarray, order: np.ndarray, size: int
) -> tuple[np.ndarray, int]:
    """Where groups begin among records by prompt, and how many prompts there are."""
    begins, num_prompts, first, previous = [], 0, 0, None
    for part in scratch.chunks(len(order)):
        own = prompts[order[part]]
        places = np.arange(part.start, part.stop)
        new = np.r_[previous is None or own[0] != previous, own[1:] != own[:-1]]
        # The place where the prompt of each record was first met.
        starts = np.maximum.accumulate(np.where(new, places, first))
        begins.append(places[(places - starts) % size == 0])
        num_prompts += int(np.sum(new))
        first, previous = starts[-1], own[-1]
    return np.concatenate(begins), num_prompts


@functools.lru_cache(maxsize=4)
def task_groups(task: FeedbackTask, split: str, size: int, singles: Singles) -> Groups:
    """The groups of a task's split: made once, since batches and reports ask for them.

    Raises:
      DataError: no group is left, or a record or the split cannot be used.
    """
    return group_by_prompt(prompt_records([task], split), size, singles)


def end_to_end(members: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Members of several splits' groups, as positions in the splits laid end to end."""
    if len(members) == 1:
        return members[0]
    ends = np.cumsum(list(map(len, members)))
    joined = scratch.array((ends[-1], members[0].shape[1]), np.int64)
    begins = np.cumsum([0, *sizes[:-1]])
    for own, end, begin in zip(members, ends, begins, strict=True):
        for part in scratch.chunks(len(own)):
            moved = np.where(own[part] == EMPTY, EMPTY, own[part] + begin)
            joined[end - len(own) :][part] = moved
    return joined
