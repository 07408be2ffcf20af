"""What a command has computed of records so far, beside the file that will hold all.

`FILE.partial` begins with a line that says what it is of, and has a line for each record
in the order in which they are computed, whole batches at a time. A killed command leaves
it behind; the same command started again drops what was cut, and goes on. Batches follow
from the records and settings alone, so what it computes is what was never begun.
"""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Self

from dro_jax.cli.outputs import Output, refused
from dro_jax.errors import ConfigError
from dro_jax.messages import note
from dro_jax.plurals import counted
from dro_jax.training.run_progress import differences

_KIND = "dro_jax results"
_MARK = json.dumps({"kind": _KIND}).encode().removesuffix(b"}")


class KeptResults:
    """Results in `FILE.partial`, which one process at a time reads and adds to.

    Use as a context manager: what is left when a command fails is kept, and told.

    Args:
      output: of the file, which is no stream.
      identity: all that results depend on, in words and digests, by name.
      sizes: records of each batch, in the order in which they are computed.

    Raises:
      ConfigError: the file is of something else, in use, or cannot be written.
    """

    def __init__(
        self, output: Output, identity: Mapping[str, str], sizes: Sequence[int]
    ):
        self._output, self._sizes = output, sizes
        self._path = pathlib.Path(f"{os.path.realpath(output.path)}.partial")
        with refused(output.flag, str(self._path)):
            self._file = open(self._path, "a+b")  # noqa: SIM115 - closed by __exit__
            try:
                self._lock()
                self._begin(dict(identity))
            except BaseException:
                self._file.close()
                raise

    @property
    def num_batches(self) -> int:
        """Batches whose records are all there."""
        return self._num_batches

    @property
    def num_records(self) -> int:
        """Records of those batches."""
        return len(self._starts) - 1

    def add(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Keeps those of the next batch's records."""
        lines = [json.dumps(values).encode() + b"\n" for values in results]
        with refused(self._output.flag, str(self._path)):
            self._file.write(b"".join(lines))
            self._file.flush()
            # The disk takes milliseconds, and a batch took the devices longer.
            os.fsync(self._file.fileno())
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))
        self._num_batches += 1

    def at(self, number: int) -> dict[str, Any]:
        """What was kept as the n-th."""
        self._file.seek(self._starts[number])
        return json.loads(
            self._file.read(self._starts[number + 1] - self._starts[number])
        )

    def delete(self) -> None:
        """Removes the file, once what it holds lies elsewhere."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None and not self._num_batches:
            self.delete()
        elif kind is not None:
            note(
                f"{counted(self.num_records, 'record')} of {sum(self._sizes):,} are kept "
                f"in {self._path}: the same command goes on from there"
            )
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{self._output.flag} {self._output.path} is being written by another "
                f"command, which holds {self._path}: wait for it, or give another file"
            ) from None
        except OSError:
            pass  # some file systems have no locks

    def _begin(self, identity: dict[str, str]) -> None:
        self._file.seek(0)
        first = self._file.readline()
        kept, has_more = _header(first), bool(self._file.readline())
        # New, or left behind before anything was computed.
        begins = _MARK.startswith(first[: len(_MARK)]) and not first.endswith(b"\n")
        if not begins and (kept is None or has_more):
            self._check(kept, identity)
        else:
            self._file.truncate(0)
            first = json.dumps({"kind": _KIND, "of": identity}).encode() + b"\n"
            self._file.write(first)
            self._file.flush()
        whole = _whole_lines(self._file, len(first), sum(self._sizes))
        self._num_batches, count = 0, 0
        for size in self._sizes:
            if count + size > len(whole) - 1:
                break
            count += size
            self._num_batches += 1
        self._starts = whole[: count + 1]
        self._file.truncate(self._starts[-1])
        if self._num_batches:
            note(
                f"{counted(count, 'record')} of {sum(self._sizes):,} are in {self._path} "
                "already: going on behind them"
            )

    def _check(self, kept: dict[str, str] | None, identity: dict[str, str]) -> None:
        if kept is None:
            raise ConfigError(
                f"{self._path} is in the way, and was not written by this command: move "
                "it, or give another file"
            )
        if changed := differences(kept, identity):
            raise ConfigError(
                f"{self._path} holds what was computed for {self._output.path} with "
                f"something else. What differs (kept → now): {changed}. Go on with the "
                "same command, or delete that file to begin anew"
            )


def _header(line: bytes) -> dict[str, str] | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        header = json.loads(line)
        if header["kind"] == _KIND and isinstance(header["of"], dict):
            return header["of"]
    return None


def _whole_lines(file: BinaryIO, start: int, most: int) -> list[int]:
    """Where lines of JSON begin, and where the last of them ends.

    A computer that fails may leave a line's bytes unwritten, not only cut it.
    """
    starts = [start]
    file.seek(start)
    while len(starts) <= most and (line := file.readline()).endswith(b"\n"):
        try:
            json.loads(line)
        except ValueError:
            break
        starts.append(starts[-1] + len(line))
    return starts
