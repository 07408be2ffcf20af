"""Records that a command reads for a model, and writes with what it computed of them.

Of several processes the first reads and writes, and tells the others each batch: standard
input is read once, and no file need lie where the others see it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dro_jax.cli.kept_results import KeptResults
from dro_jax.cli.restored import Restored
from dro_jax.cli.result_fields import ResultFields
from dro_jax.data.inputs import (
    Input,
    InputTexts,
    as_inputs,
    as_prompts,
    encoded,
    text_batches,
)
from dro_jax.data.interface import HostBatch, Shard
from dro_jax.data.prompt_batches import (
    PlannedBatch,
    Prompts,
    as_one,
    in_turn,
    rows_for,
    taking_turns,
)
from dro_jax.data.raw_records import read_raw
from dro_jax.data.records import RawRecord
from dro_jax.data.vocabularies import check_vocabulary
from dro_jax.interop.policy_digest import digest_of
from dro_jax.messages import is_first
from dro_jax.progress_bar import ProgressBar
from dro_jax.training.hosts import count, first_says, from_first
from dro_jax.training.watchdog import Watchdog

# Of a batch: its records' results, and rows that fill it up; what else came with them,
# to be counted, `tokens=512`.
BatchResults = tuple[Sequence[Mapping[str, Any]], Mapping[str, int]]


class _Work(NamedTuple):
    """What the first process knows of a command's batches."""

    plan: list[PlannedBatch]
    told: Iterator[Any]
    texts: str


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
        self._arguments, self._output = arguments, arguments.output
        self._fields = fields
        # Those of other processes stay empty.
        self._records: list[RawRecord] = []
        self._inputs: list[Input] = []
        self._num_kept = 0
        first_says(self._read)

    def _read(self) -> None:
        self._output.check_holds_records(self._arguments.input)
        self._records += read_raw(self._arguments.input)

    def check_free(self, name: str) -> None:
        """Refuses records that have a field of that name already."""
        first_says(lambda: self._fields.check_free(self._records, name))

    def prompts(
        self, restored: Restored, settings: Mapping[str, Any], most: int = 1
    ) -> tuple[Iterator[HostBatch], Shard]:
        """This process's rows of each batch of prompts, and which part these are.

        Batches are of prompts of like lengths, some of them joined. Those whose results an
        earlier run has kept are left out.

        Args:
          restored: whose task reads the records.
          settings: what results depend on beside records and model, by name.
          most: how many batches are joined.

        Raises:
          DataError: a record cannot be used.
          ConfigError: what was kept is of something else.
        """
        size = restored.mesh.num_rows(self._arguments.batch_size)

        def work() -> _Work:
            prompts = as_prompts(restored.task, self._inputs, restored.lengths)
            batches = prompts.plan(size, restored.lengths["inputs"])
            plan = [as_one(group) for group in taking_turns(batches, most)]
            chosen = ((batch, prompts.at(batch.places)) for batch in plan)
            told = (
                [batch.width, [x.tolist() for x in its.tokens], its.record_ids.tolist()]
                for batch, its in chosen
            )
            return _Work(
                plan, told, f"{prompts.digest()}, {restored.lengths['inputs']}"
            )

        def host_batch(told: list, shard: Shard) -> HostBatch:
            width, tokens, ids = told
            prompts = Prompts(tokens, np.array(ids, np.int32))
            return prompts.batch(width, rows_for(len(tokens), size, most), shard)

        return self._batches(restored, settings, work, host_batch, responses=False)

    def pairs(self, restored: Restored) -> tuple[Iterator[HostBatch], Shard]:
        """The same of prompts with their responses, in the order of the file."""
        task, lengths = restored.task, restored.lengths
        size = restored.mesh.num_rows(self._arguments.batch_size)

        def work() -> _Work:
            batches = list(map(list, text_batches(self._inputs, size)))
            plan = in_turn(len(self._inputs), size, lengths["inputs"])
            return _Work(plan, iter(batches), _digest([batches, dict(lengths)]))

        def host_batch(told: list, shard: Shard) -> HostBatch:
            return encoded(task, InputTexts(*told), lengths, size, shard)

        return self._batches(restored, {}, work, host_batch, responses=True)

    def _batches(
        self,
        restored: Restored,
        settings: Mapping[str, Any],
        work: Callable[[], _Work],
        host_batch: Callable[[Any, Shard], HostBatch],
        *,
        responses: bool,
    ) -> tuple[Iterator[HostBatch], Shard]:
        size = restored.mesh.num_rows(self._arguments.batch_size)
        shard = restored.mesh.shard(size)
        waiting: list[Iterator[Any]] = []

        def prepare() -> None:
            check_vocabulary(restored.task.vocabulary)
            self._inputs += as_inputs(restored.task, self._records, responses=responses)
            self._plan, told, texts = work()
            self._kept = None
            if not self._output.streamed:
                identity = self._identity(restored, settings, texts)
                sizes = [len(batch.places) for batch in self._plan]
                self._kept = KeptResults(self._output, identity, sizes)
                self._num_kept = self._kept.num_records
                for _ in range(self._kept.num_batches):
                    next(told)
            waiting.append(told)

        first_says(prepare)
        # One process alone may wait for whoever reads its output as long as that takes.
        several = count() > 1
        self._watchdog = Watchdog(restored.watchdog_seconds if several else None)
        # Its iterator is looked at where it is the first process's alone.
        told = from_first(item for iterator in waiting for item in iterator)

        def rows() -> Iterator[HostBatch]:
            for item in told:
                self._watchdog.reset()
                yield host_batch(item, shard)

        return rows(), shard

    def _identity(
        self, restored: Restored, settings: Mapping[str, Any], texts: str
    ) -> dict[str, str]:
        arguments = self._arguments
        path = f"{arguments.model_dir}/"
        if arguments.step is not None:
            path += f"checkpoint_{arguments.step}"
        records = [item.fields for item in self._inputs]
        facts = {
            "command": arguments.command,
            "checkpoint": digest_of(path),
            "model": _digest(restored.model.network_config),
            "records": f"{len(records)}, {_digest(records)}",
            "texts as the model reads them": texts,
            "batch_size": arguments.batch_size,
            "fields": self._fields.names(),
            "devices": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
            "mesh": dict(restored.mesh.mesh.shape),
            "jax": jax.__version__,
            **settings,
        }
        return {name: str(value) for name, value in facts.items()}

    @property
    def num_kept(self) -> int:
        """Of how many records an earlier run had kept the results; of the first process."""
        return self._num_kept

    def write(
        self, results: Iterable[BatchResults], label: str, unit: str, each: int = 1
    ) -> int:
        """Writes each record with its results; gives how many there are.

        Args:
          results: for each batch of :meth:`prompts` or :meth:`pairs`, computed by all
            processes together.
          label: of the progress, what is done.
          unit: what is counted.
          each: how many of them a record makes.
        """
        with self._watchdog:
            if not is_first():
                for _ in results:
                    pass
                return 0
            total = len(self._inputs) * each
            done = self._num_kept * each
            with ProgressBar(label, total, start=done, unit=unit) as bar:
                shown = self._shown(results, bar, each)
                if self._kept is None:
                    return self._write_stream(shown)
                with self._kept:
                    return self._write_file(shown)

    def _shown(
        self, results: Iterable[BatchResults], bar: ProgressBar, each: int
    ) -> Iterator[tuple[PlannedBatch, Sequence[Mapping[str, Any]]]]:
        """Each batch with its records' results."""
        begun = self._kept.num_batches if self._kept else 0
        for batch, (rows, others) in zip(self._plan[begun:], results, strict=True):
            bar.advance(len(batch.places) * each, **others)
            yield batch, rows[: len(batch.places)]
        bar.say()

    def _write_stream(self, batches) -> int:
        """Each record once all before it are there."""

        def records() -> Iterator[dict[str, object]]:
            waiting: dict[int, Mapping[str, Any]] = {}
            following = 0
            for batch, rows in batches:
                waiting |= zip(batch.places.tolist(), rows, strict=True)
                while following in waiting:
                    yield self._record(following, waiting.pop(following))
                    following += 1

        return self._output.write_records(records())

    def _write_file(self, batches) -> int:
        """All records at the end, from what was kept; it is deleted then."""
        for _, rows in batches:
            self._kept.add(rows)
        order = np.concatenate([batch.places for batch in self._plan])
        written = self._output.write_records(
            self._record(place, self._kept.at(int(number)))
            for place, number in enumerate(np.argsort(order))
        )
        self._kept.delete()
        return written

    def _record(self, place: int, values: Mapping[str, Any]) -> dict[str, object]:
        return self._fields.added_to(self._inputs[place].fields, values)


def _digest(value: Any) -> str:
    """Of what JSON holds, and other values as they are printed."""
    text = json.dumps(value, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
