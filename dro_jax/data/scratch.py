"""Arrays in temporary files: numbers of each record that need not lie in memory.

The files lie in the system's temporary folder (TMPDIR) and have no names once they are
open, so that nothing is left behind however a process ends. The kernel writes their
pages out and drops them where memory is short, which it cannot do with a heap.
"""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dro_jax.errors import DataError

# Records that are computed at once where something is done to all of them.
CHUNK = 1 << 18
# Smaller arrays lie in memory: a file and a mapping cost more than they do.
_SMALL = 1 << 20


def array(shape: int | Sequence[int], dtype: np.dtype | type) -> np.ndarray:
    """An array of zeros that may be larger than memory.

    Raises:
      DataError: there is no room for it.
    """
    shape = tuple(np.atleast_1d(shape).tolist())
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < _SMALL:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        _reserve(file.fileno(), size)
        return np.memmap(file, dtype, "r+", shape=shape)


def chunks(size: int, at_once: int = CHUNK) -> Iterator[slice]:
    """Slices that cover `size` entries, one after another."""
    for start in range(0, size, at_once):
        yield slice(start, min(start + at_once, size))


def filled(
    size: int, dtype: np.dtype | type, of_chunk: Callable[[slice], np.ndarray]
) -> np.ndarray:
    """An array whose entries are computed chunk by chunk.

    Args:
      size: its length.
      dtype: its type.
      of_chunk: gives the entries of a slice.
    """
    made = array(size, dtype)
    for part in chunks(size):
        made[part] = of_chunk(part)
    return made


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays ``[n]`` end to end; a single one is given back as it is."""
    if len(parts) == 1:
        return parts[0]
    made = array(sum(map(len, parts)), parts[0].dtype)
    begin = 0
    for own in parts:
        for part in chunks(len(own)):
            made[begin + part.start : begin + part.stop] = own[part]
        begin += len(own)
    return made


class Rows:
    """Rows of one shape that are added one after another, their number unknown."""

    def __init__(self):
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this)
        weakref.finalize(self, self._file.close)
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: np.ndarray) -> None:
        """Adds ``[n, …]`` rows; all that are added have one type and one shape.

        Raises:
          DataError: there is no room for them.
        """
        if self._dtype is None:
            self._shape, self._dtype = rows.shape[1:], rows.dtype
        if (self._shape, self._dtype) != (rows.shape[1:], rows.dtype):
            raise ValueError(
                f"rows of {self._dtype} {self._shape}, and now {rows.dtype} "
                f"{rows.shape[1:]}"
            )
        try:
            self._file.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise _no_room(rows.nbytes, error) from error
        self._count += len(rows)

    def array(self) -> np.ndarray:
        """All rows so far ``[N, …]``, mapped; none may be added later."""
        shape = (self._count, *self._shape)
        with self._file as file:  # a mapping outlives its file
            file.flush()
            if not np.prod(shape):
                return np.zeros(shape, self._dtype)
            return np.memmap(file, self._dtype, "r+", shape=shape)


def _reserve(number: int, size: int) -> None:
    """Takes the file's room now: a page that has none when it is written ends us."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(number, 0, size)
        else:  # macOS
            os.truncate(number, size)
    except OSError as error:
        raise _no_room(size, error) from error


def _no_room(size: int, error: OSError) -> DataError:
    return DataError(
        f"there is no room for {size / 2**20:,.0f} MiB of temporary arrays in "
        f"{tempfile.gettempdir()} ({error}): free some, or set TMPDIR to a folder on a "
        "larger disk"
    )
