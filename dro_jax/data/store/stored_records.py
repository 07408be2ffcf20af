"""A store as `SplitRecords`: numbers mapped, tokens and texts read by position."""

import collections
import json
import os
import pathlib
import threading
import weakref
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dro_jax.data.interface import Side
from dro_jax.data.records import RecordReport
from dro_jax.data.store.finishing import COLUMNS, MANIFEST, first_dropped
from dro_jax.data.store.recipe import VERSION
from dro_jax.data.store.shards import ROW, whole_identity
from dro_jax.data.store.units import Unit
from dro_jax.errors import DataError
from dro_jax.plurals import counted

_SIDES = ("inputs", "targets")
# Beyond, checking all columns at each start would take too long: sizes are compared,
# and what is read of tokens and texts has checksums of its own.
_CHECKED_BYTES = 1 << 28
_OPEN_FILES = 64


class Damaged(Exception):
    """A folder holds no store that can be used."""


class StoredRecords:
    """The valid records of a prepared split; see `dro_jax.data.interface`.

    Args:
      folder: the store.
      units: the split's, as they are called now.
      key: what the records must depend on.
      split: its name.
      token_type: the numbers in which tokens are kept.

    Attributes:
      folder: the store.
      is_shared: whether other runs may use it; else it is this process's own.

    Raises:
      Damaged: the folder holds no whole store of that key.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        units: Sequence[Unit],
        key: Any,
        split: str,
        token_type: np.dtype,
    ):
        self.folder = folder
        self.is_shared = key is not None
        self._units = tuple(units)
        self._type = token_type
        self._files: collections.OrderedDict[str, _Descriptor] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            self._map(manifest, key)
            self.report = self._report(manifest, split)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise Damaged(str(error)) from error

    def _map(self, manifest: dict[str, Any], key: Any) -> None:
        # As JSON gives it back: a tuple has become a list.
        if manifest["version"] != VERSION or manifest["key"] != json.loads(
            json.dumps(key)
        ):
            raise Damaged("it is of another version or of other data")
        for unit, shard in zip(self._units, manifest["shards"], strict=True):
            for kind in ("tokens", "texts"):
                path = self.folder / f"{unit.name}.{kind}"
                if path.stat().st_size != shard[kind]:
                    raise Damaged(f"{path.name} has not the size that it had")
        count = manifest["num_kept"]
        path = self.folder / COLUMNS
        mapped = np.memmap(path, np.uint8, "r")
        columns = {}
        for name, (place, check) in manifest["columns"].items():
            data = mapped[place : place + count * ROW[name].itemsize]
            if len(mapped) <= _CHECKED_BYTES and zlib.crc32(data) != check:
                raise Damaged(f"{path.name} is damaged")
            kind, shape = ROW[name].subdtype or (ROW[name], ())
            columns[name] = np.asarray(data).view(kind).reshape(count, *shape)
        self.rewards = columns["reward"]
        self.indices = columns["index"]
        self.lengths = columns["lengths"]
        self.prompt_hashes = columns["prompt_hash"]
        self._columns = columns
        kept = [shard["kept"] for shard in manifest["shards"]]
        self._ends = np.cumsum(kept)

    def _report(self, manifest: dict[str, Any], split: str) -> RecordReport:
        counts = [shard["dropped"] for shard in manifest["shards"]]
        dropped = first_dropped(self.folder, self._units, counts)
        return RecordReport(split, manifest["num_read"], dropped, manifest["reasons"])

    def __len__(self) -> int:
        return len(self.rewards)

    def tokens(self, positions: np.ndarray, side: Side) -> np.ndarray:
        """Tokens of records by their positions, end to end: int32.

        Raises:
          DataError: the store has been damaged since it was opened.
        """
        positions = np.asarray(positions, np.int64)
        column = _SIDES.index(side)
        lengths = self.lengths[positions].astype(np.int64) * self._type.itemsize
        starts = self._columns["tokens"][positions]
        if column:
            starts = starts + lengths[:, 0]
        parts = self._read("tokens", positions, starts, lengths[:, column], column)
        return np.frombuffer(b"".join(parts), self._type).astype(np.int32)

    def texts(self, positions: np.ndarray, side: Side) -> list[str]:
        """The texts that the model reads of records, by their positions.

        Raises:
          DataError: the store has been damaged since it was opened.
        """
        return [part.decode() for part in self.encoded_texts(positions, side)]

    def encoded_texts(self, positions: np.ndarray, side: Side) -> list[bytes]:
        """The same in UTF-8.

        Raises:
          DataError: the store has been damaged since it was opened.
        """
        return self._text_parts(np.asarray(positions, np.int64), _SIDES.index(side))

    def identity(self, position: int) -> str:
        """A record in a person's words."""
        (short,) = self._text_parts(np.array([position], np.int64), 2)
        return whole_identity(short, self._units[self._shard_of(position)])

    def position(self, index: int) -> int:
        """Where the record of that index stands among the valid ones.

        Raises:
          DataError: there is none.
        """
        position = int(np.searchsorted(self.indices, index))
        if position == len(self) or self.indices[position] != index:
            raise DataError(
                f"split '{self.report.split}' has no valid record of index {index}: "
                f"indices run from 0 to {self.report.num_read - 1}, and "
                f"dropped were {counted(self.report.num_dropped, 'record')}"
            )
        return position

    def _text_parts(self, positions: np.ndarray, part: int) -> list[bytes]:
        sizes = self._columns["text_bytes"][positions].astype(np.int64)
        starts = self._columns["texts"][positions] + sizes[:, :part].sum(1)
        return self._read("texts", positions, starts, sizes[:, part], 2 + part)

    def _read(
        self,
        kind: str,
        positions: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        check: int,
    ) -> list[bytes]:
        # One by one: records drawn at random lie apart, and in order the system reads
        # ahead.
        shards = self._shard_of(positions)
        checks = self._columns["checks"][positions, check]
        parts, shard, file = [], None, None
        for number, start, size, expected in zip(
            shards.tolist(),
            starts.tolist(),
            sizes.tolist(),
            checks.tolist(),
            strict=True,
        ):
            if number != shard:
                shard, file = number, self._file(f"{self._units[number].name}.{kind}")
            data = os.pread(file.number, size, start)
            if zlib.crc32(data) != expected:
                raise DataError(
                    f"the prepared records {file.path} are damaged at byte {start:,}: "
                    f"delete the folder {self.folder}, and the next start makes it anew"
                )
            parts.append(data)
        return parts

    def _shard_of(self, positions: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._ends, positions, side="right")

    def _file(self, name: str) -> "_Descriptor":
        # Who still reads from a file that is pushed out keeps it open.
        with self._lock:
            file = self._files.pop(name, None)
            if file is None:
                file = self._open(name)
            self._files[name] = file
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
            return file

    def _open(self, name: str) -> "_Descriptor":
        try:
            return _Descriptor(self.folder / name)
        except OSError as error:
            raise DataError(
                f"the prepared records {self.folder / name} cannot be read any more "
                f"({error.strerror}): start again, and they are made anew"
            ) from error


class _Descriptor:
    """A file to be read at places, open for as long as somebody has this object."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.number)
