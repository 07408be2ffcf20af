"""Records of tables of text: CSV, TSV and what is like them."""

import csv
import io
from collections.abc import Iterator, Sequence

from dro_jax.data.open_files import OpenFile
from dro_jax.data.records import Cell, RawRecord, RecordProblem, shown
from dro_jax.errors import DataError

DELIMITERS = ",\t;|"
_ROWS_COMPARED = 20
_LONGEST_CELL = 2**31 - 1


def csv_records(
    file: OpenFile, delimiter: str, columns: Sequence[str] | None = None
) -> Iterator[RawRecord]:
    """The rows of a table whose first row names the fields; blank rows hold none.

    Cells are quoted as RFC 4180 says. A cell is a text: a number is made of it where a
    number is asked for, as of a reward. A column without a name, as the index that
    pandas writes, is passed over.

    Args:
      file: in UTF-8; rows are called `PATH line N`, the line where they begin.
      delimiter: what stands between cells.
      columns: the names of the fields, where no row has them; None, the first row has.
        Who writes such tables is seldom strict with quotes, so one that stands in the
        middle of a cell, or behind a quoted part of it, belongs to the cell.

    Raises:
      DataError: a name occurs twice, or a quote is never closed.
    """
    # Python's own limit, 128 KiB, is less than a long document.
    csv.field_size_limit(_LONGEST_CELL)
    text = io.TextIOWrapper(file.stream, "utf-8-sig", "surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=columns is None)
    rows = _numbered(file.path, reader)
    header = next(rows, (0, []))[1] if columns is None else columns
    names = [name.strip() for name in header]
    _check_names(file.path, names)
    whose = "the first row" if columns is None else "rows of this table have"
    for line, row in rows:
        identity = f"{file.path} line {line}"
        problem = _problem(row, names, whose)
        if problem is None and columns is not None and "\n" in "".join(row):
            problem = RecordProblem(
                "open_quote",
                "a quote begins a cell and does not end in its line, so that the lines "
                "behind it would be read as part of the cell",
            )
        if problem is not None:
            yield RawRecord(identity, problem=problem)
        else:
            fields = {n: Cell(c) for n, c in zip(names, row, strict=True) if n}
            yield RawRecord(identity, fields=fields)


def delimiter_of(head: str, whole: bool) -> str | None:
    """What stands between the cells of a table; None where a text is no table.

    The first row must hold two names or more, and most of the rows after it as many
    cells.

    Args:
      head: the text's beginning.
      whole: whether that is all of it.
    """
    columns = {sign: _columns(head, sign, whole) for sign in DELIMITERS}
    best = max(columns, key=columns.__getitem__)
    return best if columns[best] > 1 else None


def _columns(head: str, delimiter: str, whole: bool) -> int:
    rows = []
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > _ROWS_COMPARED:
                break
        else:
            if not whole and len(rows) > 1:
                rows.pop()  # cut off
    except csv.Error:  # a cell beyond the limit; what came before tells
        pass
    if not rows:
        return 0
    header = rows[0]
    if 2 * sum(bool(name.strip()) for name in header) < len(header):
        return 0
    alike = sum(len(row) == len(header) for row in rows[1:])
    return len(header) if 2 * alike >= len(rows) - 1 else 0


def _numbered(path: str, reader) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the lines where they begin."""
    before = 0
    try:
        for row in reader:
            if row:
                yield before + 1, row
            before = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{path} is broken as a table from line {before + 1} ({error}): a cell with "
            "a quote, a delimiter or a line end must stand in quotes, and a quote in it "
            "be written twice; or write one JSON object a line"
        ) from error


def _check_names(path: str, names: Sequence[str]) -> None:
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise DataError(
            f"{path} has more than one column '{shown(min(twice))}': give each column a "
            "name of its own in the first row"
        )


def _problem(
    row: Sequence[str], names: Sequence[str], whose: str
) -> RecordProblem | None:
    if len(row) != len(names):
        return RecordProblem(
            "wrong_cells", f"the row has {len(row)} cells, but {whose} {len(names)}"
        )
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError:
        return RecordProblem("invalid_utf8", "the row is not valid UTF-8")
    return None
