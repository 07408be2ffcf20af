"""Where a policy and its batches lie, and how far the host runs ahead of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import jax
import numpy as np

from dro_jax.data.interface import HostBatch, Shard


class Placement(Protocol):
    """A mesh of devices, of this host or of several.

    `dro_jax.training.sharding.Partitioner` is one.

    Attributes:
      replicated: the sharding of what every device, and so every host, has whole.
    """

    replicated: jax.sharding.Sharding

    def context(self) -> AbstractContextManager[None]:
        """Where programs are traced and run."""
        ...

    def num_rows(self, batch_size: int) -> int:
        """The least rows that devices share out evenly, of at least so many."""
        ...

    def shard(self, num_rows: int) -> Shard:
        """Which part of a batch of so many rows this process gives, of how many."""
        ...

    def put_batch(
        self, batch: dict[str, np.ndarray], shard: Shard
    ) -> dict[str, jax.Array]:
        """The rows of a batch on their devices, from one part of them."""
        ...


def one_behind(
    batches: Iterable[HostBatch], compute: Callable[[HostBatch], Any]
) -> Iterator[tuple[HostBatch, Any]]:
    """Each batch with what is computed of it, on the host, once the next is under way.

    So devices do not wait while the host reads what they gave. They are never left more
    than two batches behind: processes with dozens of collectives in flight hang.

    Args:
      batches: read one by one.
      compute: sends a batch to the devices; gives arrays that every host has whole.
    """
    before = None
    for batch in batches:
        current = batch, compute(batch)
        if before is not None:
            yield before[0], jax.device_get(before[1])
        before = current
    if before is not None:
        yield before[0], jax.device_get(before[1])
