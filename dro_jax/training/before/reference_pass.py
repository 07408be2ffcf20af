"""One pass of the reference over a stretch of a split, kept part by part."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dro_jax import batch_fields
from dro_jax.data.interface import HostBatch, Position, Shard
from dro_jax.errors import DataError
from dro_jax.progress_bar import ProgressBar
from dro_jax.training.before.reference_cache import ReferenceCache, Stretch
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.host_rows import whole_batch
from dro_jax.training.preemption import StopSignal
from dro_jax.training.run_progress import position_after
from dro_jax.training.watchdog import Watchdog

_PART_BYTES = 1 << 26
# A part of a batch to the whole's ``[B, T]`` log-probabilities of tokens, on the host.
Forward = Callable[[HostBatch, Shard], np.ndarray]
# What says whose numbers these are.
_OWNERS = batch_fields.names(reader="owners")


class ReferencePass:
    """Computes what a cache lacks.

    Over several processes each reads its own rows of a batch, the devices of all run the
    reference on them, and the first process, which is told whose numbers they are, keeps
    them.

    Args:
      forward: the reference.
      shard: which part of each batch's rows this process reads, of how many.
      keep_tokens: whether log-probabilities of tokens are kept beside their sums.
      part_seconds: how much work a kill may cost.
      stop: asks to stop.
      watchdog: is told that this moves.
    """

    def __init__(
        self,
        forward: Forward,
        shard: Shard,
        *,
        keep_tokens: bool,
        part_seconds: float,
        stop: StopSignal,
        watchdog: Watchdog,
    ):
        self._forward, self._shard, self._keep_tokens = forward, shard, keep_tokens
        self._part_seconds, self._stop, self._watchdog = part_seconds, stop, watchdog
        self._num_kept = 0

    def compute(
        self, dataset, cache: ReferenceCache, stretch: Stretch, bar: ProgressBar
    ) -> None:
        """Computes a stretch of a split, and keeps it.

        The last batch may reach into what follows; its part then says so, and the
        records that are there twice have two equally good numbers.

        Raises:
          DataError: nothing follows the stretch's beginning.
          Preempted: the run was told to stop; what was computed is kept.
        """
        start, end = stretch
        writer = _PartWriter(cache, start, self._part_seconds)
        batches = dataset.one_pass(pack=True).batches(start, self._shard)
        for batch, following in _pairs(batches):
            values = self._forward(batch, self._shard)
            owners = {name: batch[name] for name in _OWNERS if name in batch}
            found = ReferenceLogprobs.of_batch(
                whole_batch(owners, self._shard), values, keep_tokens=self._keep_tokens
            )
            writer.add(found)
            self._num_kept += len(found.ids)
            bar.advance(len(found.ids))
            self._watchdog.reset()
            position, last = position_after(batch), following is None
            done = last or (end is not None and position >= end)
            stopping = self._stop.now()
            if done or writer.is_due or stopping:
                writer.keep(position, last=last)
            if done:
                return
            if stopping:
                raise self._stop.stopped(
                    "while computing the reference's log-probs: "
                    f"{self._num_kept} new ones are kept, and the "
                    "same command goes on from there"
                )
        raise DataError(
            f"{dataset.name}, split '{dataset.split}': the split is empty, so there is "
            "nothing to train on"
        )


class _PartWriter:
    """Gathers batches into parts, which the first process writes."""

    def __init__(self, cache: ReferenceCache, start: Position, seconds: float):
        self._cache, self._start, self._seconds = cache, start, seconds
        self._begin()

    def _begin(self) -> None:
        self._pending: list[ReferenceLogprobs] = []
        self._bytes, self._since = 0, time.monotonic()

    def add(self, found: ReferenceLogprobs) -> None:
        self._pending.append(found)
        self._bytes += sum(array.nbytes for array in vars(found).values())

    @property
    def is_due(self) -> bool:
        late = time.monotonic() - self._since > self._seconds
        return late or self._bytes > _PART_BYTES

    def keep(self, end: Position, *, last: bool) -> None:
        if jax.process_index() == 0:
            part = ReferenceLogprobs.joined(self._pending)
            self._cache.write(self._start, part, end, last=last)
        self._start = end
        self._begin()


def _pairs(
    batches: Iterator[HostBatch],
) -> Iterator[tuple[HostBatch, HostBatch | None]]:
    """Each batch with the one that follows; None after the last."""
    current = next(batches, None)
    while current is not None:
        following = next(batches, None)
        yield current, following
        current = following
