"""Records as numbers, for arrays on the host: their ids, and which share a prompt."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np

from dro_jax.data import scratch


def join_ids(record_ids: np.ndarray) -> np.ndarray:
    """``[..., 2]`` int32 pairs (task fingerprint, record index) as one int64 each."""
    pairs = record_ids.astype(np.int64)
    return (pairs[..., 0] << 32) + pairs[..., 1]


class RecordIds:
    """Ids of N records in an order, and where each of them stands.

    The ids of a task's split ascend, each the one before plus 1 but where records were
    left out as bad. So runs of consecutive ids are kept, one for a split without bad
    records, and never the ids: nothing is sorted, and looking one up touches no array
    of the length of the split. Any other order is right too, and takes more runs.

    Args:
      firsts: ``[K]`` int64, the first id of each run.
      counts: ``[K]`` int64, how many ids it has. Runs stand one after another.

    Raises:
      ValueError: an id comes twice.
    """

    def __init__(self, firsts: np.ndarray, counts: np.ndarray):
        self._firsts, self._entries = firsts, np.cumsum(counts) - counts
        self._size = int(np.sum(counts))
        self._order = np.argsort(firsts, kind="stable")
        self._sorted, self._counts = firsts[self._order], counts[self._order]
        if np.any(self._sorted[:-1] + self._counts[:-1] > self._sorted[1:]):
            raise ValueError("an id comes twice among the ids of records")

    @classmethod
    def joined(cls, parts: Iterable[np.ndarray]) -> "RecordIds":
        """From int64 ids as :func:`join_ids` makes them, one part after another."""
        firsts, entries, size, following = [], [], 0, None
        for ids in parts:
            if not len(ids):
                continue
            starts = np.flatnonzero(np.diff(ids) != 1) + 1
            if ids[0] != following:  # else the run goes on from the part before
                starts = np.r_[0, starts]
            firsts.append(ids[starts])
            entries.append(starts + size)
            size, following = size + len(ids), ids[-1] + 1
        nothing = np.zeros(0, np.int64)
        counts = np.diff(np.concatenate([nothing, *entries, [size]]))
        return cls(np.concatenate([nothing, *firsts]), counts)

    @classmethod
    def of(cls, ids: np.ndarray) -> "RecordIds":
        """From an array ``[N]``, which may be mapped."""
        return cls.joined(np.asarray(ids[part]) for part in scratch.chunks(len(ids)))

    @property
    def runs(self) -> np.ndarray:
        """``[K, 2]`` int64: what this was made from."""
        return np.stack([self._firsts, np.diff(np.r_[self._entries, self._size])], 1)

    def __len__(self) -> int:
        return self._size

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getitem__(self, part: slice) -> np.ndarray:
        """The ids of consecutive entries, int64."""
        return self.take(np.arange(*part.indices(self._size)))

    def take(self, entries: np.ndarray) -> np.ndarray:
        """The ids of some entries, int64."""
        runs = np.searchsorted(self._entries, entries, side="right") - 1
        return self._firsts[runs] + entries - self._entries[runs]

    def locate(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of records by their joined ids, and which of them have one."""
        if not self._size:
            return np.zeros(ids.shape, np.int64), np.zeros(ids.shape, bool)
        runs = np.searchsorted(self._sorted, ids, side="right") - 1
        within = ids - self._sorted[runs]
        known = (runs >= 0) & (within < self._counts[runs])
        entries = self._entries[self._order[runs]] + within
        return np.where(known, entries, 0), known


@dataclasses.dataclass(frozen=True, eq=False)
class PromptRecords:
    """A split's records by prompt.

    Attributes:
      ids: of the R records, in the order of the split; an array ``[R]`` of what
        :func:`join_ids` makes will do.
      prompts: ``[R]`` uint64 hashes, equal for responses to one prompt.
      rewards: ``[R]`` float32, as training sees them.
    """

    ids: RecordIds
    prompts: np.ndarray
    rewards: np.ndarray

    def __post_init__(self):
        if not isinstance(self.ids, RecordIds):
            object.__setattr__(self, "ids", RecordIds.of(self.ids))

    def __len__(self) -> int:
        return len(self.rewards)

    @functools.cached_property
    def num_prompts(self) -> int:
        """Different prompts."""
        return sum(len(np.unique(self.prompts[part])) for part in self.by_prompt())

    def by_prompt(self, at_once: int = scratch.CHUNK) -> Iterator[np.ndarray]:
        """Positions of records, ascending; all that answer one prompt come together.

        So that what is computed prompt by prompt needs no array of the whole split. The
        first bits of a hash, which is as good as drawn by chance, say when it comes.

        Args:
          at_once: about so many.
        """
        bits = max(int(np.ceil(np.log2(max(len(self) / at_once, 1)))), 0)
        if not bits:
            yield np.arange(len(self))
            return
        shift = np.uint64(64 - bits)
        for number in range(1 << bits):
            found = [
                part.start + np.flatnonzero(self.prompts[part] >> shift == number)
                for part in scratch.chunks(len(self))
            ]
            yield np.concatenate(found)
