"""Which records of a split answer one prompt."""

import functools
from collections.abc import Sequence

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.record_ids import PromptRecords, RecordIds, join_ids
from dro_jax.data.tasks import FeedbackTask


def prompt_records(tasks: Sequence[FeedbackTask], split: str) -> PromptRecords:
    """The records of several tasks; prompts are equal whose text the model reads is.

    Computed once for a split and kept: several of a run's parts ask for it.

    Args:
      tasks: all have the split.
      split: its name.

    Raises:
      DataError: a record or the split cannot be used.
    """
    return _prompt_records(tuple(tasks), split)


@functools.lru_cache(maxsize=8)
def _prompt_records(tasks: tuple[FeedbackTask, ...], split: str) -> PromptRecords:
    rewards = [task.source.rewards(split) for task in tasks]
    records = [task.records(split) for task in tasks]
    return PromptRecords(
        RecordIds.joined(
            _ids(fingerprint(task.name), own.indices[part])
            for task, own in zip(tasks, records, strict=True)
            for part in scratch.chunks(len(own))
        ),
        scratch.joined([own.prompt_hashes for own in records]),
        scratch.joined(rewards),
    )


def _ids(task: int, indices: np.ndarray) -> np.ndarray:
    return join_ids(np.stack([np.full(len(indices), task), indices], axis=1))
