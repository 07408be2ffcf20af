"""The bytes of a file, whatever it is compressed with, as its first bytes tell."""

import bz2
import contextlib
import dataclasses
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from dro_jax import paths
from dro_jax.data import remote_files
from dro_jax.errors import DataError

HEAD = 1 << 18
_CHUNK = 1 << 16
_MOST_LAYERS = 3


class Chunks(io.RawIOBase):
    """A stream made of chunks of bytes.

    Args:
      chunks: yields them; an error it raises reaches who reads so far.
    """

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """A file's bytes, decompressed.

    Attributes:
      path: as it was given.
      head: its first `HEAD` bytes, or all where it has no more.
      stream: all of its bytes.
      is_plain: whether these are just what stands at the local path.
    """

    path: str
    head: bytes
    stream: BinaryIO
    is_plain: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the head is all that there is."""
        return len(self.head) < HEAD


@contextlib.contextmanager
def opened(path: str) -> Iterator[OpenFile]:
    """Opens a file to be read once, from its start; a pipe is read as a file is.

    Args:
      path: a local path or a URL.

    Raises:
      DataError: it is compressed by what cannot be read here.
      OSError, EOFError: it is missing, damaged or not accessible.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_bytes_of(path))
        is_plain = not paths.is_url(path) and os.path.isfile(path)
        head, file = peeked(file)
        for _ in range(_MOST_LAYERS):
            decompress = _decompressor(path, head)
            if decompress is None:
                break
            is_plain = False
            file = stack.enter_context(decompress(file))
            head, file = peeked(file)
        yield OpenFile(path, head, file, is_plain)


def lines_between(file: BinaryIO, start: int, end: int) -> BinaryIO:
    """The bytes of a file from one place to another, to be read by lines."""
    file.seek(start)

    def chunks() -> Iterator[bytes]:
        left = end - start
        while left and (part := file.read(min(left, 1 << 18))):
            left -= len(part)
            yield part

    return io.BufferedReader(Chunks(chunks()), _CHUNK)


def _bytes_of(path: str) -> BinaryIO:
    return remote_files.open_remote(path) if paths.is_url(path) else open(path, "rb")


def peeked(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """A stream's first bytes, and a stream that still begins with them.

    An error among the first bytes is raised when all before it have been read.
    """
    parts, size, failure = [], 0, None
    try:
        while size < HEAD and (part := file.read(_CHUNK)):
            parts.append(part)
            size += len(part)
    except (OSError, EOFError, lzma.LZMAError, ValueError, zlib.error) as error:
        failure = error
    head = b"".join(parts)

    def chunks() -> Iterator[bytes]:
        yield head
        if failure is not None:
            raise failure
        while part := file.read(_CHUNK):
            yield part

    return head, io.BufferedReader(Chunks(chunks()), _CHUNK)


def _decompressor(path: str, head: bytes) -> Callable[[BinaryIO], BinaryIO] | None:
    if head.startswith(b"\x1f\x8b"):
        return lambda file: gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return bz2.BZ2File
    if head.startswith((b"\xfd7zXZ\0", b"]\0\0\x80\0")):
        return lzma.LZMAFile
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd
    for magic, name in _NOT_READ.items():
        if head.startswith(magic):
            raise DataError(
                f"{path} is compressed by {name}, which is not read here: decompress "
                "it, or compress it by gzip, xz, bzip2 or zstd"
            )
    return None


_NOT_READ = {
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "compress (.Z)",
    b"LZIP": "lzip",
    b"\xff\x06\0\0sNaPpY": "snappy",
}


def _zstd(file: BinaryIO) -> BinaryIO:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")
