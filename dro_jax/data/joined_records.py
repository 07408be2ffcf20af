"""The records of several tasks end to end, as batches need them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dro_jax.data.encoding import truncated, truncations
from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.interface import Side, SplitRecords
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.tokens import Tokens
from dro_jax.data.vocabularies import check_vocabulary


class JoinedRecords:
    """Records by their positions in the tasks' splits laid end to end.

    Only what is asked for is read: lengths of all records that share a window, tokens
    of those alone whose rows are made.

    Args:
      tasks: all have the split, one vocabulary and one way of truncation.
      split: its name.
      lengths: the most tokens of `inputs` and `targets`.

    Raises:
      DataError: a record, the split or the vocabulary cannot be used.
    """

    def __init__(
        self, tasks: Sequence[FeedbackTask], split: str, lengths: Mapping[str, int]
    ):
        # First, so that a file of records that is missing is told before others.
        self._records: list[SplitRecords] = [task.records(split) for task in tasks]
        vocabulary = tasks[0].vocabulary
        check_vocabulary(vocabulary)
        self._eos_id = vocabulary.eos_id
        self._cuts = truncations(lengths, tasks[0].truncation)
        self.tasks = tuple(tasks)
        self._rewards = [task.source.rewards(split) for task in tasks]
        self._names = [fingerprint(task.name) for task in tasks]
        self.sizes = [len(records) for records in self._records]
        self._ends = np.cumsum(self.sizes)

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """``[n, 2]`` tokens of inputs and targets, as truncated, with their ends."""
        whole = self._whole_lengths(positions)
        return np.stack(
            [cut.lengths(whole[:, i]) for i, cut in enumerate(self._cuts)], axis=1
        )

    def tokens(self, positions: np.ndarray, side: Side) -> Tokens:
        """Tokens of records in the order of `positions`, truncated, ends marked."""
        number = ("inputs", "targets").index(side)
        lengths = self._whole_lengths(positions)[:, number]
        values = np.empty(int(np.sum(lengths)), np.int32)
        for task, within, own in self.by_task(positions):
            tokens = self._records[task].tokens(within, side)
            if len(own) == len(positions):
                values = tokens
            else:
                belongs = np.zeros(len(positions), bool)
                belongs[own] = True
                values[np.repeat(belongs, lengths)] = tokens
        return self._cuts[number].cut(Tokens(values, lengths), self._eos_id)

    def texts(self, positions: np.ndarray, side: Side) -> list[str]:
        """The texts that the model reads of records, whole."""
        found = [""] * len(positions)
        for task, within, own in self.by_task(positions):
            texts = self._records[task].texts(within, side)
            for place, text in zip(own.tolist(), texts, strict=True):
                found[place] = text
        return found

    def fields(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """``[n]`` rewards, trajectory_weights, truncated; ``[n, 2]`` record_ids."""
        return {
            "rewards": self._gathered(positions, self._rewards, np.float32),
            "trajectory_weights": np.ones(len(positions), np.float32),
            "record_ids": self.record_ids(positions),
            "truncated": truncated(self._cuts, self._whole_lengths(positions).T),
        }

    def record_ids(self, positions: np.ndarray) -> np.ndarray:
        """``[n, 2]`` the task's fingerprint and the record's index."""
        ids = np.empty((len(positions), 2), np.int32)
        for task, within, own in self.by_task(positions):
            ids[own, 0] = self._names[task]
            ids[own, 1] = self._records[task].indices[within]
        return ids

    def _whole_lengths(self, positions: np.ndarray) -> np.ndarray:
        lengths = [records.lengths for records in self._records]
        return self._gathered(positions, lengths, np.int32)

    def _gathered(
        self, positions: np.ndarray, tables: Sequence[np.ndarray], dtype: type
    ) -> np.ndarray:
        """Entries of the tasks' tables."""
        found = np.empty((len(positions), *tables[0].shape[1:]), dtype)
        for task, within, own in self.by_task(positions):
            found[own] = tables[task][within]
        return found

    def by_task(
        self, positions: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(Number of a task, positions in its split, which of `positions` these are)."""
        if len(self.sizes) == 1:
            yield 0, positions, np.arange(len(positions))
            return
        tasks = np.searchsorted(self._ends, positions, side="right")
        for task in np.unique(tasks).tolist():
            own = np.flatnonzero(tasks == task)
            begin = self._ends[task] - self.sizes[task]
            yield task, positions[own] - begin, own
