"""Numbers of records, computed once and put into every batch that holds them."""

import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.data.record_ids import RecordIds, join_ids
from dro_jax.errors import DataError
from dro_jax.plurals import counted


class RecordIndex:
    """Finds a batch's records among those that something was computed for.

    Args:
      ids: of R records, or ``[R]`` int64 as `join_ids` makes them.
      what: what was computed, for messages.
    """

    def __init__(self, ids: RecordIds | np.ndarray, what: str):
        self._ids = ids if isinstance(ids, RecordIds) else RecordIds.of(ids)
        self._what = what

    def __len__(self) -> int:
        return len(self._ids)

    def locate(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of records by their joined ids, and which of them have one."""
        return self._ids.locate(ids)

    def find(self, batch: HostBatch) -> tuple[np.ndarray, np.ndarray]:
        """Entries ``[B, S]`` of a batch's records, and which of them are present.

        Raises:
          DataError: a record has no entry.
        """
        entries, known = self.locate(join_ids(batch["record_ids"]))
        present = batch["trajectory_weights"] > 0
        missing = present & ~known
        if missing.any():
            raise DataError(
                f"{self._what} is not there for {counted(missing.sum(), 'record')} of the batch "
                f"(first id {batch['record_ids'][missing][0].tolist()}): it was computed "
                "from other data than the run reads"
            )
        return entries, present


class RecordField:
    """A number of each record, as a field ``[B, S]`` of batches.

    Args:
      field: the field's name.
      ids: of R records, or ``[R]`` int64.
      values: ``[R]`` float32, which may be mapped: only a batch's are read.
    """

    def __init__(self, field: str, ids: RecordIds | np.ndarray, values: np.ndarray):
        self.field = field
        self._index = RecordIndex(ids, f"the field '{field}'")
        self._values = values

    def attach(self, batch: HostBatch) -> HostBatch:
        """The batch with the field; 0 at padding.

        Raises:
          DataError: a record has no entry.
        """
        entries, present = self._index.find(batch)
        values = np.where(present, self._values[entries], 0).astype(np.float32)
        return {**batch, self.field: values}

    def values_of(self, record_ids: np.ndarray) -> np.ndarray:
        """``[n]`` the numbers of records by their ids ``[n, 2]``.

        Raises:
          DataError: a record has no entry.
        """
        rows = {
            "record_ids": record_ids,
            "trajectory_weights": np.ones(len(record_ids)),
        }
        entries, _ = self._index.find(rows)
        return np.asarray(self._values[entries], np.float32)
