"""What a file of records is, as its first bytes tell, and its records."""

import collections
import contextlib
import functools
import itertools
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Sequence

from dro_jax.data.arrow_records import (
    arrow_file_records,
    arrow_stream_records,
    parquet_records,
)
from dro_jax.data.csv_records import DELIMITERS, csv_records, delimiter_of
from dro_jax.data.foreign_files import check_not_foreign, not_records
from dro_jax.data.json_faults import check_lines, holds_objects, is_array
from dro_jax.data.json_records import UTF8_BOM, json_array, json_lines
from dro_jax.data.open_files import OpenFile, lines_between, opened
from dro_jax.data.records import RawRecord, shown
from dro_jax.data.store.units import Unit
from dro_jax.data.text_encodings import as_utf8, check_legacy
from dro_jax.errors import DataError

Reader = Callable[[OpenFile], Iterator[RawRecord]]
_BINARY: dict[bytes, Reader] = {
    b"PAR1": parquet_records,
    b"ARROW1\0\0": arrow_file_records,
    b"\xff\xff\xff\xff": arrow_stream_records,
}
# What names say is asked only where the content leaves it open: a table of one column.
_TABLES_OF_ONE_COLUMN = {".csv": ",", ".tsv": "\t"}


def read_records(
    path: str,
    *,
    encoding: str | None = None,
    advice: str = "check the path",
    columns: Sequence[str] | None = None,
) -> Iterator[RawRecord]:
    """The records of a file: JSONL, a JSON array, CSV, TSV, Parquet or Arrow.

    Each may be compressed by gzip, bzip2, xz or zstd. What a file is, its first bytes
    tell, whatever its name. An empty file holds no records.

    Args:
      path: a local path or a URL.
      encoding: of text; None, UTF-8, or UTF-16 with its mark.
      advice: what to do when the file is missing.
      columns: the names of the cells of a row, where the file is a table of text that
        has no row with them; None, it is none, or its first row has them.

    Raises:
      DataError: the file is missing, damaged, or none of these; it is named for what it
        is.
    """
    with _readable(path, advice) as told, opened(path) as file:
        if not file.head:
            # An error that is there instead of the first byte is raised here.
            file.stream.read(1)
            return
        for record in _records(file, encoding, columns):
            told.append(record.identity)
            yield record


def read_lines(unit: Unit, *, advice: str = "check the path") -> Iterator[RawRecord]:
    """The records of some lines of a file for which `holds_json_lines` is true.

    Raises:
      DataError: the file is missing or damaged.
    """
    with _readable(unit.path, advice) as told, open(unit.path, "rb") as file:
        lines = OpenFile(unit.path, b"", lines_between(file, unit.start, unit.end))
        for record in json_lines(lines, unit.first_line):
            told.append(record.identity)
            yield record


def no_such_file(path: str, advice: str) -> DataError:
    """The error for a file that is missing."""
    return DataError(f"the file {path} does not exist: {advice}")


def holds_json_lines(path: str, encoding: str | None) -> bool:
    """Whether a local file is one JSON object a line as it stands: UTF-8, not packed.

    False also for files that cannot be read at all, which who reads them will tell.
    """
    try:
        with opened(path) as file:
            if file.head.startswith(tuple(_BINARY)):
                return False
            check_not_foreign(file)
            file = as_utf8(file, encoding)
            check_legacy(file)
            return file.is_plain and _text_reader(file) is json_lines
    except (DataError, OSError, EOFError, zlib.error, lzma.LZMAError):
        return False


@contextlib.contextmanager
def _readable(path: str, advice: str) -> Iterator[collections.deque[str]]:
    """Errors of reading a file say how far it was read: the last identity told."""
    told: collections.deque[str] = collections.deque(maxlen=1)
    try:
        yield told
    except FileNotFoundError as error:
        raise no_such_file(path, advice) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        last = told[0].removeprefix(path) if told else ""
        where = f"beyond{last}" if last else "from its beginning"
        raise DataError(
            f"{path} cannot be read {where} ({error}): the file is damaged, incomplete "
            "or not accessible; make or copy it again"
        ) from error


def _records(
    file: OpenFile, encoding: str | None, columns: Sequence[str] | None
) -> Iterator[RawRecord]:
    for magic, reader in _BINARY.items():
        if file.head.startswith(magic):
            return reader(file)
    check_not_foreign(file)
    file = as_utf8(file, encoding)
    check_legacy(file)
    if columns is not None:
        return _nameless_table(file, columns)
    return _text_reader(file)(file)


def _nameless_table(file: OpenFile, columns: Sequence[str]) -> Iterator[RawRecord]:
    """Rows of a table whose first row is a record too."""
    head = file.head.removeprefix(UTF8_BOM).decode("utf-8", "replace")
    first = head.partition("\n")[0]
    counts = {sign: 1 + first.count(sign) for sign in DELIMITERS}
    # Tabs first: commas may happen to stand in the texts as often.
    fitting = sorted(sign for sign in DELIMITERS if counts[sign] == len(columns))
    if not fitting:
        raise DataError(
            f"{file.path} is no table of {len(columns)} columns without a row of names "
            f"({', '.join(columns)}): its first line is {shown(first.strip())!r}. Take "
            "the file as it was published"
        )
    return csv_records(file, fitting[0], columns)


def _text_reader(file: OpenFile) -> Reader:
    text = file.head.removeprefix(UTF8_BOM).lstrip()
    if not text:
        return json_lines
    if is_array(text, file.is_whole):
        return json_array
    if text.startswith((b"{", b"[")) or holds_objects(text, file.is_whole):
        check_lines(file.path, text, file.is_whole)
        return json_lines
    if b"\0" in file.head:
        raise not_records(file.path, text)
    if delimiter := _delimiter(file):
        return functools.partial(csv_records, delimiter=delimiter)
    raise not_records(file.path, text)


def _delimiter(file: OpenFile) -> str | None:
    head = file.head.removeprefix(UTF8_BOM).decode("utf-8", "replace")
    if found := delimiter_of(head, file.is_whole):
        return found
    endings = itertools.islice(_suffixes(file.path), 2)
    return next(filter(None, map(_TABLES_OF_ONE_COLUMN.get, endings)), None)


def _suffixes(path: str) -> Iterator[str]:
    """Endings of a name, the last one first."""
    while True:
        path, suffix = os.path.splitext(path)
        if not suffix:
            return
        yield suffix.lower()
