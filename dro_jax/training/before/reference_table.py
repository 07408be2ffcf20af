"""The reference's log-probabilities of a whole split, mapped from files.

A table's folder holds `runs.npy`, the ids of its records as :class:`RecordIds` keeps
them, `logprobs.npy` in the order of ids and, where tokens are kept, `starts.npy` and
`tokens.f32`. A batch's records are looked up without reading any others.
"""

import os
import pathlib
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.interface import HostBatch
from dro_jax.data.record_ids import RecordIds
from dro_jax.errors import CheckpointError, DataError
from dro_jax.training.before.record_fields import RecordIndex
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs, token_mask

_RUNS, _LOGPROBS = "runs.npy", "logprobs.npy"
_STARTS, _TOKENS = "starts.npy", "tokens.f32"
_WHAT = "the reference's log-probability"
_AT_ONCE = 1 << 15  # records whose tokens are put in order at once

# Gives the parts of a split, one after another, as often as it is called.
Parts = Callable[[], Iterable[ReferenceLogprobs]]


class ReferenceTable:
    """Looks a batch's records up in a split's reference log-probabilities.

    Args:
      folder: as :func:`write_table` fills it.

    Raises:
      CheckpointError: it is damaged.
    """

    def __init__(self, folder: pathlib.Path):
        self._tokens_of = None
        try:
            self._ids = RecordIds(*np.load(folder / _RUNS).T)
            self._logprobs = np.load(folder / _LOGPROBS, mmap_mode="r")
            whole = len(self._ids) == len(self._logprobs)
            if (folder / _TOKENS).exists():
                self._starts = np.load(folder / _STARTS, mmap_mode="r")
                self._tokens_of = _TokensFile(folder / _TOKENS)
                whole &= self._starts[-1] == len(self._tokens_of)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(folder, error) from error
        if not whole:
            raise _damaged(folder, "its files do not belong together")
        self._index = RecordIndex(self._ids, _WHAT)

    @classmethod
    def of(cls, found: ReferenceLogprobs) -> "ReferenceTable":
        """Of what is in memory."""
        with tempfile.TemporaryDirectory() as folder:
            write_table(pathlib.Path(folder), lambda: [found])
            return cls(pathlib.Path(folder))  # what is mapped and open stays

    def __len__(self) -> int:
        return len(self._ids)

    def logprobs_of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log π_ref(y|x) of records by their joined ids, and which of them have one."""
        entries, known = self._ids.locate(ids)
        return self._logprobs[entries], known

    def attach(self, batch: HostBatch) -> HostBatch:
        """The batch with `reference_logprobs` ``[B, S]``; 0 at padding.

        Where tokens were kept, `reference_token_logprobs` ``[B, T]`` too.

        Raises:
          DataError: a record has no entry, or another length than it had.
        """
        entries, present = self._index.find(batch)
        values = np.where(present, self._logprobs[entries], np.float32(0))
        batch = {**batch, "reference_logprobs": values.astype(np.float32)}
        if self._tokens_of is not None:
            batch["reference_token_logprobs"] = self._tokens(batch, entries, present)
        return batch

    def _tokens(self, batch, entries, present) -> np.ndarray:
        mask = token_mask(batch)
        tokens = np.zeros(mask.shape[:2], np.float32)
        starts, ends = self._starts[entries], self._starts[entries + 1]
        for row, slot in np.argwhere(present):
            start, length = starts[row, slot], ends[row, slot] - starts[row, slot]
            places = np.flatnonzero(mask[row, :, slot])
            if len(places) != length:
                raise DataError(
                    f"record id {batch['record_ids'][row, slot].tolist()} has "
                    f"{len(places)} response tokens, and {length} in the reference cache"
                )
            tokens[row, places] = self._tokens_of(start, length)
        return tokens


class _TokensFile:
    """Reads float32 numbers by their place.

    Read and not mapped: a page that is touched once would count as this process's memory
    until the end, and a run of many epochs touches them all.
    """

    def __init__(self, path: pathlib.Path):
        file = path.open("rb", buffering=0)
        weakref.finalize(self, file.close)
        self._file, self._path = file, path

    def __len__(self) -> int:
        return os.fstat(self._file.fileno()).st_size // 4

    def __call__(self, start: int, count: int) -> np.ndarray:
        found = os.pread(self._file.fileno(), 4 * int(count), 4 * int(start))
        if len(found) != 4 * count:
            raise _damaged(self._path.parent, "a file ends too early")
        return np.frombuffer(found, "<f4")


def write_table(folder: pathlib.Path, parts: Parts) -> None:
    """Puts the parts of a split in the order of their ids.

    Parts are read one at a time, and three times. A record that is in two of them (their
    last batches reach into the following part) has the later one's numbers.

    Args:
      folder: empty.
      parts: of the whole split.
    """
    ids = _ids_of(parts())
    np.save(folder / _RUNS, ids.runs)
    logprobs = scratch.array(len(ids), np.float32)
    starts = scratch.array(len(ids) + 1, np.int64)
    for part in parts():
        entries, _ = ids.locate(part.ids)
        logprobs[entries] = part.logprobs
        if part.lengths.size:
            starts[entries + 1] = part.lengths
    np.save(folder / _LOGPROBS, logprobs)
    np.cumsum(starts, out=starts)
    if not starts[-1]:
        return
    np.save(folder / _STARTS, starts)
    with (folder / _TOKENS).open("wb", buffering=0) as file:
        for part in parts():
            for entries, tokens in _in_order(part, ids):
                _write_tokens(file, entries, tokens, starts)


def _ids_of(parts: Iterable[ReferenceLogprobs]) -> RecordIds:
    rows = scratch.Rows()
    for part in parts:
        rows.append(part.ids)
    ids = rows.array()
    ids.sort()

    def once() -> Iterator[np.ndarray]:
        before = None
        for part in scratch.chunks(len(ids)):
            own = np.unique(ids[part])
            yield own[own != before] if before is not None else own
            before = own[-1]

    return RecordIds.joined(once())


def _in_order(
    part: ReferenceLogprobs, ids: RecordIds
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Entries of some records, ascending, and their tokens end to end."""
    ends = np.cumsum(part.lengths)
    for some in scratch.chunks(len(part.ids), _AT_ONCE):
        entries, _ = ids.locate(part.ids[some])
        order = np.argsort(entries, kind="stable")
        lengths = part.lengths[some][order]
        # From each token's place in the order to where it stands now.
        shifts = ends[some][order] - np.cumsum(lengths)
        yield (
            entries[order],
            part.tokens[np.repeat(shifts, lengths) + np.arange(lengths.sum())],
        )


def _write_tokens(
    file: BinaryIO, entries: np.ndarray, tokens: np.ndarray, starts: np.ndarray
) -> None:
    """Writes the tokens of records, whose entries ascend, to their places.

    The records of a part are neighbours but for their order within a packing window, so
    that there are few writes.
    """
    ends = np.cumsum(starts[entries + 1] - starts[entries])
    breaks = np.flatnonzero(np.diff(entries) != 1)
    firsts = np.r_[0, breaks + 1]
    for first, last in zip(firsts, np.r_[breaks, len(entries) - 1], strict=True):
        begin = starts[entries[first]]
        place = ends[first] - (starts[entries[first] + 1] - begin)
        file.seek(4 * int(begin))
        file.write(tokens[place : ends[last]].astype("<f4").data)


def _damaged(folder: pathlib.Path, why: object) -> CheckpointError:
    return CheckpointError(
        f"the reference cache's {folder} cannot be read ({why}): delete it, and the run "
        "makes it anew"
    )
