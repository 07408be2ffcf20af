"""Which rows of each batch a host reads, of those that its devices hold."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from dro_jax.data.interface import WHOLE, HostBatch, Shard


def host_shard(sharding: Sharding, num_rows: int) -> Shard:
    """The part of a batch's rows that this process's devices hold.

    Args:
      sharding: of the rows.
      num_rows: rows of a batch.

    Returns:
      The whole batch where processes do not hold equal parts of it, each in one piece.
    """
    held: dict[int, list[range]] = {}
    for device, index in sharding.devices_indices_map((num_rows,)).items():
        rows = range(num_rows)[index[0]]
        held.setdefault(device.process_index, []).append(rows)
    return _shards(held, num_rows).get(jax.process_index(), WHOLE)


def _shards(held: Mapping[int, list[range]], num_rows: int) -> dict[int, Shard]:
    """The part of each process; none where not all have one of the same size."""
    shards = {}
    for process, pieces in held.items():
        first = min(rows.start for rows in pieces)
        last = max(rows.stop for rows in pieces)
        size = last - first
        if len(set().union(*pieces)) < size or first % size or num_rows % size:
            return {}
        shards[process] = first // size, num_rows // size
    return shards if len({count for _, count in shards.values()}) == 1 else {}


def put_rows(sharding: Sharding, rows: np.ndarray, shard: Shard = WHOLE) -> jax.Array:
    """A batch's array on the devices, of which each host has its part.

    Args:
      sharding: of the rows.
      rows: those of this host's part.
      shard: which part that is, of how many.
    """
    index, count = shard
    first, num_rows = index * len(rows), count * len(rows)

    def part(place: tuple[slice, ...]) -> np.ndarray:
        own = range(num_rows)[place[0]]
        return rows[own.start - first : own.stop - first]

    return jax.make_array_from_callback((num_rows, *rows.shape[1:]), sharding, part)


def whole_batch(batch: HostBatch, shard: Shard) -> HostBatch:
    """The rows of all hosts, from each one's own; all processes must call this.

    Args:
      batch: arrays of this host's rows.
      shard: which part of the rows these are, of how many.
    """
    if shard[1] == 1:
        return batch
    gathered = multihost_utils.process_allgather({**batch, "": np.array(shard[0])})
    # Processes whose devices share a model hold the same part: the first is taken.
    _, first = np.unique(gathered.pop(""), return_index=True)
    return {name: np.concatenate(rows[first]) for name, rows in gathered.items()}
