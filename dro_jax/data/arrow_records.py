"""Records of Parquet and Arrow files, read batch by batch."""

import contextlib
import datetime
import decimal
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from dro_jax.data.open_files import OpenFile
from dro_jax.data.records import RawRecord, RecordProblem
from dro_jax.errors import DataError

_ROWS = 1024


def parquet_records(file: OpenFile) -> Iterator[RawRecord]:
    """The rows of a Parquet file."""
    import pyarrow.parquet

    with _seekable(file) as whole, _readable(file.path, "Parquet"):
        table = pyarrow.parquet.ParquetFile(whole)
        yield from _rows(file.path, table.schema_arrow, table.iter_batches(_ROWS))


def arrow_file_records(file: OpenFile) -> Iterator[RawRecord]:
    """The rows of an Arrow IPC file, which Feather's second version is too."""
    import pyarrow

    with _seekable(file) as whole, _readable(file.path, "Arrow"):
        table = pyarrow.ipc.open_file(whole)
        batches = map(table.get_batch, range(table.num_record_batches))
        yield from _rows(file.path, table.schema, batches)


def arrow_stream_records(file: OpenFile) -> Iterator[RawRecord]:
    """The rows of an Arrow IPC stream, as the library `datasets` stores them."""
    import pyarrow

    with _readable(file.path, "Arrow"):
        table = pyarrow.ipc.open_stream(file.stream)
        yield from _rows(file.path, table.schema, table)


def _rows(path: str, schema, batches) -> Iterator[RawRecord]:
    if len(set(schema.names)) < len(schema.names):
        twice = min(name for name in schema.names if schema.names.count(name) > 1)
        raise DataError(
            f"{path} has more than one column '{twice}': give each a name of its own"
        )
    number = 0
    for batch in batches:
        for row in _in_microseconds(batch).to_pylist():
            number += 1
            identity = f"{path} row {number}"
            try:
                fields = {name: plain(name, value) for name, value in row.items()}
                yield RawRecord(identity, fields=fields)
            except RecordProblem as problem:
                yield RawRecord(identity, problem=problem)


def _in_microseconds(batch):
    """The batch, with times of nanoseconds cut to what Python's own can hold."""
    import pyarrow as pa

    shorter = {
        i: pa.timestamp("us", kind.tz)
        if pa.types.is_timestamp(kind)
        else pa.duration("us")
        if pa.types.is_duration(kind)
        else pa.time64("us")
        for i, kind in enumerate(batch.schema.types)
        if pa.types.is_temporal(kind) and getattr(kind, "unit", None) == "ns"
    }
    for i, kind in shorter.items():
        column = batch.column(i).cast(kind, safe=False)
        batch = batch.set_column(i, batch.schema.names[i], column)
    return batch


def plain(name: str, value: Any) -> Any:
    """A value as JSON would hold it.

    NaN is a missing value, as for pandas. Times are texts as ISO 8601 writes them, and
    spans of time seconds; decimals are floats, bytes text.

    Raises:
      RecordProblem: bytes are not UTF-8.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, bytes):
        return _text(name, value)
    if isinstance(value, Mapping):
        return {key: plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(name, item) for item in value]
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordProblem(
            "invalid_utf8", f"field '{name}' is not valid UTF-8 (byte {error.start})"
        ) from error


@contextlib.contextmanager
def _seekable(file: OpenFile) -> Iterator[BinaryIO]:
    """The bytes as a file, since these formats are read from their ends."""
    if file.is_plain:
        with open(file.path, "rb") as whole:
            yield whole
        return
    with tempfile.TemporaryFile() as whole:
        shutil.copyfileobj(file.stream, whole)
        whole.seek(0)
        yield whole


@contextlib.contextmanager
def _readable(path: str, name: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} begins as a file of {name} does, but cannot be read as one "
            f"({str(error).splitlines()[0]}): it is damaged or incomplete; make or copy "
            "it again"
        ) from error
