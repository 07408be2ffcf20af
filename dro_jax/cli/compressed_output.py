"""Compression of what is written, as a file's name asks for it."""

import bz2
import contextlib
import gzip
import lzma
import types
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def compressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """A file into which bytes go that `file` is to hold compressed, or `file` itself.

    Args:
      file: open for writing; it is not closed.
      name: `.gz`, `.bz2`, `.xz` or `.zst` at its end says how.
    """
    name = name.lower()
    if name.endswith(".gz"):
        # Neither name nor time: the same content gives the same bytes.
        inside = gzip.GzipFile("", "wb", fileobj=file, mtime=0)
    elif name.endswith(".bz2"):
        inside = bz2.BZ2File(file, "wb")
    elif name.endswith(".xz"):
        inside = lzma.LZMAFile(file, "wb")  # noqa: SIM115 - closed below
    elif name.endswith(".zst"):
        import pyarrow

        # pyarrow closes what it writes to.
        kept_open = types.SimpleNamespace(
            write=file.write, flush=file.flush, close=lambda: None, closed=False
        )
        sink = pyarrow.PythonFile(kept_open, "w")
        inside = pyarrow.CompressedOutputStream(sink, "zstd")
    else:
        yield file
        return
    try:
        yield inside
    finally:
        inside.close()
