"""What dear scorers and judges said, kept on disk by content.

Why not SQLite: homes of clusters lie on network file systems, where its write-ahead log
must not be used and its locks are not to be relied on, and one damaged page may cost the
whole file. Here each process that has something to add writes a file of its own, line
by line, so no two ever write to one and nothing is locked; a line that a crash cut or
damaged is known by its checksum and costs itself alone.
"""

import hashlib
import json
import os
import pathlib
import threading
import time
import uuid
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Self

from dro_jax import paths
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note
from dro_jax.plurals import counted

VARIABLE = "DRO_JAX_SCORES_DIR"
# A line is {"crc":"8 hex","key":"64 hex","value":…}; the checksum is of what follows it.
_BEFORE = b'{"crc":"%08x",'
_KEY = slice(25, 89)
_CHECKED, _VALUE = 18, 99
_SYNC_SECONDS = 1.0


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()
"""What :meth:`ScoreCache.get_many` gives for texts that have no value."""


class ScoreCache:
    """Values by a scorer's fingerprint and texts; threads and processes may share one.

    What is put is in the system's hands when `put` returns, so that a killed process
    loses nothing, and on the disk when it is closed or, at latest, with the first value put a
    second after. Where two processes put a value for the same texts, either is kept.

    Args:
      fingerprint: a digest of all that the values depend on beside the texts.
      folder: where caches are kept; None, `$DRO_JAX_SCORES_DIR`, or `dro_jax/scores` in
        the user's folder of caches.

    Raises:
      ConfigError: the folder is a URL, or may not be written to.
    """

    def __init__(self, fingerprint: str, folder: paths.PathLike | None = None):
        self.folder = cache_root(folder) / _digest([fingerprint])[:32]
        paths.make_folder(self.folder)
        self._fingerprint = fingerprint
        self._values: dict[bytes, bytes] = {}
        self._read_until: dict[str, int] = {}
        self._damaged = 0
        self._lock = threading.RLock()
        self._file: int | None = None
        self._owner = os.getpid()
        self._synced = 0.0
        self.refresh()
        if self._damaged:
            note(
                f"{counted(self._damaged, 'line')} of the scores kept in {self.folder} "
                "cannot be read, as after a crash: they are computed or asked for anew"
            )

    def __len__(self) -> int:
        return len(self._values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def get_many(self, items: Iterable[Sequence[str]]) -> list[Any]:
        """The value of each item, and `MISSING` where there is none.

        Args:
          items: the texts of each, as (prompt, response).
        """
        keys = [bytes.fromhex(self.key(texts)) for texts in items]
        with self._lock:
            if not self._values.keys() >= set(keys):
                self.refresh()
            found = [self._values.get(key) for key in keys]
        return [MISSING if text is None else json.loads(text) for text in found]

    def get(self, *texts: str) -> Any:
        """The value of one item, or `MISSING`."""
        return self.get_many([texts])[0]

    def put(self, texts: Sequence[str], value: Any) -> None:
        """Keeps a value of JSON, which is read back exactly.

        Args:
          texts: of the item, in the order in which they will be asked for.
          value: numbers, text, lists and dicts by text.

        Raises:
          DataError: it is not JSON, or holds a number that is not finite.
          ConfigError: the disk is full, or the folder gone.
        """
        key = self.key(texts)
        try:
            text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise DataError(f"a score cannot be kept as JSON: {error}") from error
        rest = b'"key":"%b","value":%b}\n' % (key.encode(), text)
        line = _BEFORE % zlib.crc32(rest) + rest
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                raise ConfigError(
                    f"scores cannot be kept in {self.folder} ({paths.reason(error)}): "
                    f"set {VARIABLE} to a folder with space; what was kept stays there"
                ) from error
            self._values[bytes.fromhex(key)] = text

    def key(self, texts: Sequence[str]) -> str:
        """The digest under which texts are kept, 64 hex digits."""
        return _digest([self._fingerprint, *texts])

    def refresh(self) -> None:
        """Reads what other processes have added since."""
        with self._lock:
            for path in sorted(self.folder.glob("*.jsonl")):
                self._read(path)

    def sync(self) -> None:
        """Waits until all that this process has put is on the disk."""
        with self._lock:
            if self._file is not None and self._owner == os.getpid():
                os.fsync(self._file)
                self._synced = time.monotonic()

    def close(self) -> None:
        """The same, and begins another file if more is put."""
        with self._lock:
            self.sync()
            if self._file is not None and self._owner == os.getpid():
                os.close(self._file)
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is None or self._owner != os.getpid():
            # A process forked from the owner must not write into its file.
            self._owner = os.getpid()
            path = self.folder / f"{uuid.uuid4().hex}.jsonl"
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
            self._file = os.open(path, flags, 0o666)
        start = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            # A full disk may have taken a part, which the next line must not follow.
            os.ftruncate(self._file, start)
            raise
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def _read(self, path: pathlib.Path) -> None:
        """Takes the whole lines that a file has gained; the last may still be written."""
        start = self._read_until.get(path.name, 0)
        try:
            if path.stat().st_size <= start:
                return
            with path.open("rb") as file:
                file.seek(start)
                data = file.read()
        except FileNotFoundError:
            return  # somebody has just emptied the cache
        whole = data.rfind(b"\n") + 1
        self._read_until[path.name] = start + whole
        for line in data[:whole].splitlines(keepends=True):
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            if line[:_CHECKED] != _BEFORE % zlib.crc32(line[_CHECKED:]):
                raise ValueError
            key = bytes.fromhex(line[_KEY].decode("ascii"))
        except ValueError:
            self._damaged += 1
        else:
            self._values[key] = line[_VALUE:-2]


def cache_root(folder: paths.PathLike | None = None) -> pathlib.Path:
    """The folder of all caches, which is made.

    Args, Raises: as :class:`ScoreCache`.
    """
    named = folder or os.environ.get(VARIABLE) or paths.user_cache("scores")
    expanded = paths.expanded(named)
    if paths.is_url(expanded):
        raise ConfigError(
            f"scores cannot be kept at {named}: set {VARIABLE} to a folder of a file "
            "system (a mounted bucket will do)"
        )
    try:
        return paths.make_folder(os.path.abspath(expanded))
    except ConfigError as error:
        raise ConfigError(f"scores cannot be kept: {error}, by {VARIABLE}") from error


def _digest(texts: Iterable[str]) -> str:
    """Of texts in their order; no two lists of texts are written alike."""
    digest = hashlib.sha256()
    for text in texts:
        # Half of a surrogate pair, which JSON can hold, is a text like any other.
        data = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
