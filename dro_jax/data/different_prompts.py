"""The different prompts of a split, once each, read when they are asked for."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.encoding import separate
from dro_jax.data.joined_records import JoinedRecords
from dro_jax.data.prompt_batches import Prompts
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.tasks import FeedbackTask


@dataclasses.dataclass(frozen=True)
class DifferentPrompts(Prompts):
    """Prompts of a split's records, each at its first record's place in the order.

    Memory holds a few numbers of each; tokens and texts are read of those asked for.

    Attributes:
      tokens: as the model reads them.
      record_ids: ``[P, 2]`` int32, of each prompt's first record.
      records: all of the split, its tasks end to end.
      positions: ``[P]`` int64, ascending: where those first records stand.
      hashes: ``[P]`` uint64, as `PromptRecords.prompts` has them.
    """

    tokens: "_StoredTokens"
    records: JoinedRecords
    positions: np.ndarray
    hashes: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """``[P]`` tokens of each."""
        return self.tokens.lengths

    def at(self, places: np.ndarray) -> Prompts:
        """Some of them, read at once."""
        return Prompts(self.tokens.at(places), self.record_ids[places])

    def texts(self, places: np.ndarray) -> list[str]:
        """The texts of some, whole, as the model reads them before they are cut."""
        return self.records.texts(self.positions[places], "inputs")

    def by_task(self, places: np.ndarray) -> Iterator[tuple[FeedbackTask, np.ndarray]]:
        """Tasks that first have some of the prompts, with which of `places` these are."""
        for task, _, own in self.records.by_task(self.positions[places]):
            yield self.records.tasks[task], own


class _StoredTokens(Sequence):
    """Tokens of prompts, cut, EOS included, by their places."""

    def __init__(self, records: JoinedRecords, positions: np.ndarray):
        self._records, self._positions = records, positions
        self.lengths = scratch.filled(
            len(positions),
            np.int32,
            lambda part: records.lengths(positions[part])[:, 0],
        )

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: int) -> np.ndarray:
        return self.at(np.array([place]))[0]

    def at(self, places: np.ndarray) -> list[np.ndarray]:
        return separate(self._records.tokens(self._positions[places], "inputs"))


def different_prompts(dataset: DatasetConfig) -> DifferentPrompts:
    """The different prompts of a data set's split, over all its tasks.

    Prompts are equal whose text the model reads is, in whichever task; such a one
    belongs to the first task that has it. Their number is `PromptRecords.num_prompts`.

    Raises:
      DataError: a record, the split or the vocabulary cannot be used.
    """
    tasks = [task for task in dataset.tasks() if dataset.split in task.splits]
    records = JoinedRecords(tasks, dataset.split, dataset.task_feature_lengths)
    known = dataset.prompt_records()
    positions = _first_records(known)
    return DifferentPrompts(
        tokens=_StoredTokens(records, positions),
        record_ids=records.record_ids(positions),
        records=records,
        positions=positions,
        hashes=np.asarray(known.prompts[positions]),
    )


def _first_records(records: PromptRecords) -> np.ndarray:
    """``[P]`` positions of each prompt's first record, ascending."""
    firsts = [
        part[np.unique(records.prompts[part], return_index=True)[1]]
        for part in records.by_prompt()
    ]
    return np.sort(np.concatenate(firsts))
