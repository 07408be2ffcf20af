"""Records of JSON files: an object a line, or one array of objects."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from dro_jax.data.open_files import OpenFile
from dro_jax.data.records import RawRecord, RecordProblem, shown
from dro_jax.errors import DataError

UTF8_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 18
# A value cut off by a chunk's end fails within the longest token that is no text.
_CUT = 32
_SPACE = re.compile(r"[ \t\r\n]*")


def json_lines(file: OpenFile, first: int = 1) -> Iterator[RawRecord]:
    """The records of a file with one JSON object a line; blank lines hold none.

    Args:
      file: the file, or lines of it.
      first: the number of the first line.
    """
    for number, line in enumerate(file.stream, start=first):
        if number == 1:
            line = line.removeprefix(UTF8_BOM)
        if not line.strip():
            continue
        identity = f"{file.path} line {number}"
        try:
            yield RawRecord(identity, fields=parse_line(line))
        except RecordProblem as problem:
            yield RawRecord(identity, problem=problem)


def parse_line(line: bytes) -> dict[str, Any]:
    """The object in a line.

    Raises:
      RecordProblem: there is none.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordProblem(
            "invalid_utf8", f"the line is not valid UTF-8 (byte {error.start})"
        ) from error
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise RecordProblem(
            "not_json",
            f"the line is not JSON ({_why(text)}): it begins {text.strip()[:40]!r}",
        ) from error
    if not isinstance(value, dict):
        raise RecordProblem(
            "not_object",
            f"the line is JSON but not an object: it begins {text.strip()[:40]!r}",
        )
    return value


def json_array(file: OpenFile) -> Iterator[RawRecord]:
    """The records of a JSON array of objects, an item at a time.

    Raises:
      DataError: the array is broken or breaks off, or its items are no objects.
    """
    items = _Items(
        file.path, io.TextIOWrapper(file.stream, "utf-8-sig", "surrogateescape")
    )
    for number, (text, value, problem) in enumerate(items, start=1):
        identity = f"{file.path} item {number}"
        problem = problem or _problem_of_item(file.path, number, text, value)
        if problem is None:
            yield RawRecord(identity, fields=value)
        else:
            yield RawRecord(identity, problem=problem)


def _problem_of_item(
    path: str, number: int, text: str, value: Any
) -> RecordProblem | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return RecordProblem(
            "invalid_utf8", f"the item is not valid UTF-8 (character {error.start})"
        )
    if isinstance(value, dict):
        return None
    if number == 1 and value is not None:
        raise DataError(
            f"{path} is a JSON array, but not of objects: its first item begins "
            f"{text[:40]!r}. Each item must be an object of named fields, as "
            "{\"prompt\": …}; pandas writes such by to_json(orient='records')"
        )
    return RecordProblem(
        "not_object", f"the item is no object: it begins {text[:40]!r}"
    )


class _Items:
    """An array's items, read by and by: (text, value, problem of its fields)."""

    def __init__(self, path: str, file: io.TextIOBase):
        self._path = path
        self._file = file
        self._buffer = ""
        self._place = 0
        self._ended = False
        self._count = 0
        self._lines = 1  # lines that begin before the buffer
        self._problem: RecordProblem | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def __iter__(self) -> Iterator[tuple[str, Any, RecordProblem | None]]:
        self._skip("[")
        while self._next_sign() != "]":
            yield self._item()
            self._count += 1
            if self._next_sign() not in (",", "]"):
                how = "is broken" if self._next_sign() else "breaks off"
                raise self._broken("a comma or the closing bracket is missing", how)
            if self._next_sign() == ",":
                self._skip(",")
        self._skip("]")
        if self._next_sign():
            raise self._broken("there is more after the closing bracket")

    def _item(self) -> tuple[str, Any, RecordProblem | None]:
        while True:
            self._problem = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._place)
            except (ValueError, RecursionError) as error:
                cut = self._may_be_cut(error)
                if self._ended or not cut:
                    raise self._broken_item(error, cut) from error
            else:
                # A number may go on behind the buffer's end.
                if self._ended or end < len(self._buffer):
                    text = self._buffer[self._place : end]
                    self._place = end
                    return text, value, self._problem
            self._read_more()

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Fields; a problem is noted, for an error would lose where the item ends."""
        try:
            return _object(pairs)
        except RecordProblem as problem:
            self._problem = problem
            return dict(pairs)

    def _may_be_cut(self, error: Exception) -> bool:
        if not isinstance(error, json.JSONDecodeError):
            return False
        near_the_end = error.pos >= len(self._buffer) - _CUT
        return near_the_end or error.msg.startswith("Unterminated string")

    def _next_sign(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._place = _SPACE.match(self._buffer, self._place).end()
            if self._place < len(self._buffer):
                return self._buffer[self._place]
            if self._ended:
                return ""
            self._read_more()

    def _skip(self, sign: str) -> None:
        if self._next_sign() != sign:
            raise self._broken(f"'{sign}' is missing")
        self._place += 1

    def _read_more(self) -> None:
        """As much again as is waiting, so that a long item is not tried too often."""
        waiting = self._buffer[self._place :]
        more = self._file.read(max(_CHUNK, len(waiting)))
        self._lines += self._buffer.count("\n", 0, self._place)
        self._buffer, self._place = waiting + more, 0
        self._ended = not more

    def _broken_item(self, error: Exception, cut: bool) -> DataError:
        if cut:
            return self._broken("the file ends within an item", "breaks off")
        self._place = getattr(error, "pos", self._place)
        return self._broken(getattr(error, "msg", str(error)))

    def _broken(self, why: str, how: str = "is broken") -> DataError:
        line = self._lines + self._buffer.count("\n", 0, self._place)
        after = f"after item {self._count}" if self._count else "in its first item"
        return DataError(
            f"{self._path} is a JSON array that {how} {after} (line {line}: {why}): make "
            "or copy it again, or write one object a line"
        )


def _why(line: str) -> str:
    """Why a line is not JSON; its end is no part of it, so a line cut off is just that."""
    if line.startswith("\ufeff"):
        return "a byte order mark"
    try:
        _DECODER.decode(line.rstrip())
    except json.JSONDecodeError as error:
        return f"{error.msg}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        return str(error)
    return "its end"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordProblem(
            "duplicate_field", f"field '{shown(twice)}' occurs more than once"
        )
    return fields


# Made once: `json.loads` with a hook makes a decoder for each line.
_DECODER = json.JSONDecoder(object_pairs_hook=_object)
