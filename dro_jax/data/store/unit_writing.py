"""One unit of a split: its records read, checked, tokenised and written.

Python reads and checks records while SentencePiece, in a second thread and without the
interpreter's lock, makes tokens of those before: on two cores, both at once.
"""

import collections
import concurrent.futures
import contextlib
import pathlib
from collections.abc import Callable, Iterator

from dro_jax.data.records import BadRecords, RawRecord, RecordProblem
from dro_jax.data.store.claims import Claim
from dro_jax.data.store.recipe import Recipe
from dro_jax.data.store.shards import Record, ShardWriter
from dro_jax.data.store.units import Unit
from dro_jax.errors import DataError
from dro_jax.paths import reason

# What is read, and not yet written, is bounded by these.
_RECORDS_AT_ONCE = 2048
_BYTES_AT_ONCE = 1 << 23
_WAITING = 2


def write_unit(
    recipe: Recipe,
    split: str,
    unit: Unit,
    folder: pathlib.Path,
    *,
    claim: Claim | None = None,
    told: Callable[[int], None] = lambda count: None,
) -> None:
    """Writes the shard of a unit, which is seen when it is whole.

    Args:
      recipe: how the split is read.
      split: its name.
      unit: one of the split's.
      folder: of the store; there.
      claim: touched while the work goes on.
      told: is given the number of records read, now and then.

    Raises:
      DataError: a record is bad and the policy is `error`, the source cannot be read,
        or the folder cannot be written to.
      ConfigError: a template names a field that records do not have.
    """
    with written_to(folder):
        writer = ShardWriter(folder, unit, recipe.vocabulary)
    try:
        facts = _write(recipe, split, unit, folder, writer, claim, told)
        with written_to(folder):
            writer.commit(facts)
    except BaseException:
        with contextlib.suppress(OSError):
            writer.discard()
        raise


def _write(recipe, split, unit, folder, writer, claim, told) -> dict:
    bad = _Dropped(recipe, writer)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque()
        num_read = num_kept = 0
        for num_read, records, is_last in _batches(recipe, split, unit, bad):
            num_kept += len(records)
            if is_last and not waiting:
                _append(folder, writer, records)  # a thread would cost more
            else:
                if len(waiting) >= _WAITING:
                    waiting.popleft().result()
                waiting.append(pool.submit(_append, folder, writer, records))
            told(num_read)
            if claim is not None:
                claim.touch()
        for future in waiting:
            future.result()
    return {"num_read": num_read, "num_kept": num_kept, **bad.facts()}


def _append(folder: pathlib.Path, writer: ShardWriter, records: list[Record]) -> None:
    if records:
        with written_to(folder):
            writer.write(records)


def _batches(
    recipe: Recipe, split: str, unit: Unit, bad: "_Dropped"
) -> Iterator[tuple[int, list[Record], bool]]:
    """(How many were read so far, valid ones since the last batch, is it the last.)"""
    records, size, count = [], 0, 0
    for count, record in _valid(recipe, split, unit, bad):
        if record is not None:
            records.append(record)
            size += len(record.prompt) + len(record.response)
        if len(records) >= _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield count, records, False
            records, size = [], 0
    yield count, records, True


def _valid(
    recipe: Recipe, split: str, unit: Unit, bad: "_Dropped"
) -> Iterator[tuple[int, Record | None]]:
    record_format = recipe.record_format
    checked = unit.number > 0  # `check_templates` has seen the split's first record
    for index, raw in enumerate(recipe.source.unit_records(split, unit)):
        identity = record_format.identity(raw.identity, raw.fields)
        if raw.fields is not None and not checked:
            record_format.check_templates(identity, raw.fields)
            checked = True
        try:
            if raw.problem is not None:
                raise raw.problem
            found = record_format.parse(raw.fields)
        except RecordProblem as problem:
            bad.handle(identity, problem)
            yield index + 1, None
            continue
        yield (
            index + 1,
            Record(
                found.prompt.encode(),
                found.response.encode(),
                identity,
                found.reward,
                index,
            ),
        )


def check_templates(recipe: Recipe, split: str, units: tuple[Unit, ...]) -> None:
    """Compares the templates with the first record of a split that has fields.

    Nothing is read where there is one unit, which does so itself, nor of what may be
    read but once, as a pipe.

    Raises:
      ConfigError: a template names a field that the record does not have.
    """
    if len(units) < 2 or any(unit.status is None for unit in units):
        return
    for unit in units:
        for raw in recipe.source.unit_records(split, unit):
            if raw.fields is not None:
                _check(recipe, raw)
                return


def _check(recipe: Recipe, raw: RawRecord) -> None:
    identity = recipe.record_format.identity(raw.identity, raw.fields)
    recipe.record_format.check_templates(identity, raw.fields)


class _Dropped(BadRecords):
    """Bad records by their reasons; the list of them goes to the shard's file."""

    def __init__(self, recipe: Recipe, writer: ShardWriter):
        super().__init__(recipe.on_bad_record, recipe.task)
        self._writer = writer

    def handle(self, identity: str, problem: RecordProblem) -> None:
        super().handle(identity, problem)
        self._writer.drop(identity, problem.reason, problem.message)

    def facts(self) -> dict[str, dict[str, int]]:
        return {"reasons": dict(self.reasons)}


class NotWritten(DataError):
    """The folder of a store cannot be written to."""


@contextlib.contextmanager
def written_to(folder: pathlib.Path) -> Iterator[None]:
    """Turns errors of the system into one that says what to do.

    Raises:
      NotWritten: the folder cannot be written to, or is full.
    """
    try:
        yield
    except OSError as error:
        raise NotWritten(
            f"prepared records cannot be written to {folder} ({reason(error)}): make "
            "room, or give another folder by DRO_JAX_PREPARED_DIR or --prepared_dir; "
            "what is done is kept, and the next start goes on behind it"
        ) from error
