"""Files of text as UTF-8, whatever they are written in."""

import codecs
import dataclasses
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from dro_jax.data.open_files import Chunks, OpenFile, peeked
from dro_jax.errors import ConfigError, DataError

_CHUNK = 1 << 16
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHERS = re.compile(rb"[\x80-\xff]+")


def check_encoding(encoding: str | None) -> None:
    """Refuses the name of no encoding of text.

    Raises:
      ConfigError: Python knows none of that name.
    """
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, TypeError) as error:
        raise ConfigError(
            f"encoding = {encoding!r} is unknown: use 'utf-8', 'utf-16', 'latin-1', "
            "'cp1252' or another encoding that Python knows"
        ) from error


def as_utf8(file: OpenFile, encoding: str | None) -> OpenFile:
    """A file of text as UTF-8, its lines ended by newlines.

    Args:
      file: of text.
      encoding: what it is written in; None, UTF-8, or what its byte order mark tells.

    Raises:
      DataError: it is UTF-16 without a mark; when read, it is not in that encoding.
    """
    head = file.head
    marked = next(
        (name for mark, name in _MARKS.items() if head.startswith(mark)), None
    )
    if encoding is None and marked is None and _is_utf16(head):
        order = "le" if head[1:2] == b"\0" else "be"
        raise DataError(
            f"{file.path} is UTF-16 without a byte order mark: set encoding = "
            f"'utf-16-{order}'"
        )
    name = encoding or marked
    if name is not None and codecs.lookup(name) != codecs.lookup("utf-8"):
        file = _changed(file, _recoded(file.path, file.stream, name))
    if b"\r" in file.head and b"\n" not in file.head:
        file = _changed(file, _with_newlines(file.stream))
    return file


def _changed(file: OpenFile, chunks: Iterator[bytes]) -> OpenFile:
    head, stream = peeked(io.BufferedReader(Chunks(chunks), _CHUNK))
    return dataclasses.replace(file, head=head, stream=stream, is_plain=False)


def _is_utf16(head: bytes) -> bool:
    """Whether text of the first bytes has a NUL in every other place."""
    start = head[:64]
    zeros = [start[0::2].count(0), start[1::2].count(0)]
    return len(start) > 3 and max(zeros) > len(start) // 3 and min(zeros) == 0


def _recoded(path: str, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    position = 0
    while True:
        chunk = stream.read(_CHUNK)
        try:
            yield decoder.decode(chunk, final=not chunk).encode("utf-8")
        except UnicodeError as error:
            start = getattr(error, "start", 0)
            raise DataError(
                f"{path} is not {encoding}, near byte {position + start:,}: give the "
                "encoding that it was written in"
            ) from error
        if not chunk:
            return
        position += len(chunk)


def _with_newlines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines that end as on old Macintoshes, in a carriage return alone."""
    while chunk := stream.read(_CHUNK):
        yield chunk.replace(b"\r", b"\n")


def check_legacy(file: OpenFile) -> None:
    """Refuses a file of text that is in none of Unicode's encodings.

    Single lines that are broken are no such file: no line that is not ASCII may be
    UTF-8, and there must be several.

    Raises:
      DataError: it is one.
    """
    if file.head.isascii() or b"\0" in file.head:
        return
    lines = file.head.split(b"\n")
    if not file.is_whole and len(lines) > 1:
        lines.pop()
    others = [line for line in lines if not line.isascii()]
    # A text of one line, as an array may be, is judged by its runs of such characters.
    parts = _OTHERS.findall(file.head) if len(lines) == 1 else others
    if len(parts) < 2 or any(map(_is_utf8, parts)):
        return
    raise DataError(
        f"{file.path} is text, but not in UTF-8: set encoding to what it was written in, "
        "as 'latin-1' or 'cp1252' (Windows), or convert it by 'iconv -f LATIN1 -t UTF-8'"
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
