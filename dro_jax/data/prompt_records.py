"""Which records of a split answer one prompt."""

from collections.abc import Sequence

import numpy as np

from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.record_ids import PromptRecords, join_ids
from dro_jax.data.tasks import FeedbackTask


def prompt_records(tasks: Sequence[FeedbackTask], split: str) -> PromptRecords:
    """The records of several tasks; prompts are equal whose text the model reads is.

    Args:
      tasks: all have the split.
      split: its name.

    Raises:
      DataError: a record or the split cannot be used.
    """
    ids, rewards = [], []
    numbers: dict[str, int] = {}
    prompts: list[int] = []
    for task in tasks:
        loaded = task.source.load(split)
        names = np.full(len(loaded), fingerprint(task.name))
        ids.append(join_ids(np.stack([names, loaded.indices], axis=1)))
        rewards.append(task.source.rewards(split))
        prompts += [numbers.setdefault(text, len(numbers)) for text in loaded.prompts]
    return PromptRecords(np.concatenate(ids), np.array(prompts), np.concatenate(rewards))
