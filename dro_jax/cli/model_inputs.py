"""Records that a command reads for a model, and writes with what it computed of them.

Of several processes the first reads and writes, and tells the others the texts of each
batch: standard input is read once, and no file need lie where the others see it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dro_jax.cli.restored import Restored
from dro_jax.cli.result_fields import ResultFields
from dro_jax.data.inputs import (
    Input,
    InputTexts,
    as_inputs,
    encoded,
    read_raw,
    text_batches,
)
from dro_jax.data.interface import HostBatch, Shard
from dro_jax.data.records import RawRecord
from dro_jax.data.vocabularies import check_vocabulary
from dro_jax.messages import is_first
from dro_jax.training.hosts import count, first_says, from_first
from dro_jax.training.watchdog import Watchdog


class ModelInputs:
    """The records of `--input`, on their way to `--output`.

    All processes of a command must call its methods in the same order.

    Args:
      arguments: the command line.
      fields: names of what will be added to each.

    Raises:
      DataError, ConfigError: they cannot be read, or not be written to that file.
    """

    def __init__(self, arguments, fields: ResultFields):
        self._source, self._output = arguments.input, arguments.output
        self._batch_size = arguments.batch_size
        self._fields = fields
        # Those of other processes stay empty.
        self._records: list[RawRecord] = []
        self._inputs: list[Input] = []
        first_says(self._read)

    def _read(self) -> None:
        self._output.check_holds_records(self._source)
        self._records += read_raw(self._source)

    def check_free(self, name: str) -> None:
        """Refuses records that have a field of that name already."""
        first_says(lambda: self._fields.check_free(self._records, name))

    def batches(
        self, restored: Restored, *, responses: bool
    ) -> tuple[Iterator[HostBatch], Shard]:
        """This process's rows of each batch, and which part of them these are.

        Args:
          restored: whose task reads the records.
          responses: whether records must hold a response.

        Raises:
          DataError: a record cannot be used.
        """
        task = restored.task
        size = restored.mesh.num_rows(self._batch_size)
        shard = restored.mesh.shard(size)

        def take() -> None:
            check_vocabulary(task.vocabulary)
            self._inputs += as_inputs(task, self._records, responses=responses)

        first_says(take)
        # One process alone may wait for whoever reads its output as long as that takes.
        several = count() > 1
        self._watchdog = Watchdog(restored.watchdog_seconds if several else None)
        # A generator, which looks at nothing where it is not the first process's.
        texts = from_first(list(part) for part in text_batches(self._inputs, size))

        def rows() -> Iterator[HostBatch]:
            for part in texts:
                self._watchdog.reset()
                yield encoded(task, InputTexts(*part), restored.lengths, size, shard)

        return rows(), shard

    def write(self, results: Iterable[Mapping[str, Any]]) -> int:
        """Writes each record with its results; gives how many there are.

        Args:
          results: for each record; more, for rows that fill the last batch, are left
            out. They are computed by all processes together, from :meth:`batches`.
        """
        with self._watchdog:
            if is_first():
                return self._output.write_records(
                    self._fields.added_to(item.fields, values)
                    for item, values in zip(self._inputs, results, strict=False)
                )
            for _ in results:
                pass
            return 0
