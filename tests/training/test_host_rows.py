"""Each host's part of a batch, from where its rows lie."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from several_processes import execute, run_together

from dro_jax.data.interface import WHOLE
from dro_jax.training.host_rows import _shards, host_shard, put_rows, whole_batch
from dro_jax.training.sharding import MeshConfig


@pytest.mark.parametrize(
    ("held", "shards"),
    [
        # Two hosts of two devices.
        (
            {0: [range(2), range(2, 4)], 1: [range(4, 6), range(6, 8)]},
            {0: (0, 2), 1: (1, 2)},
        ),
        # A model over two hosts: both hold the same rows.
        ({0: [range(4)] * 2, 1: [range(4)] * 2, 2: [range(4, 8)]}, [(0, 2)] * 2),
        ({0: [range(8)], 1: [range(8)]}, {0: (0, 1), 1: (0, 1)}),
        # Rows that do not lie in one piece, or in pieces of other sizes.
        ({0: [range(2), range(4, 6)], 1: [range(2, 4), range(6, 8)]}, {}),
        ({0: [range(6)], 1: [range(6, 8)]}, {}),
        ({0: [range(4)], 1: [range(4, 6)], 2: [range(6, 8)]}, {}),
    ],
)
def test_equal_parts_in_one_piece_or_none(held, shards):
    if isinstance(shards, list):
        shards = {**dict(enumerate(shards)), 2: (1, 2)}
    assert _shards(held, 8) == shards


@pytest.mark.parametrize("mesh", [MeshConfig(data=8), MeshConfig(data=2, model=4)])
def test_one_process_holds_the_whole_batch(mesh):
    by_row = jax.sharding.NamedSharding(mesh.build().mesh, PartitionSpec("data"))
    assert host_shard(by_row, 16) == WHOLE
    rows = np.arange(32.0).reshape(16, 2)
    placed = put_rows(by_row, rows)
    assert placed.sharding == by_row
    np.testing.assert_array_equal(placed, rows)
    assert whole_batch({"rows": rows}, WHOLE) == {"rows": rows}


TWO_PROCESSES = """
import jax
import numpy as np
from dro_jax.training.host_rows import whole_batch
from dro_jax.training.sharding import MeshConfig

whole = np.arange(32.0).reshape(16, 2)
for data, model, count in ((8, 1, 2), (4, 2, 2), (1, 8, 1)):
    partitioner = MeshConfig(data=data, model=model).build()
    shard = partitioner.shard(16)
    assert shard == (jax.process_index() if count == 2 else 0, count), shard
    size = 16 // count
    own = whole[shard[0] * size : (shard[0] + 1) * size]
    placed = partitioner.put_batch({"rows": own}, shard)["rows"]
    assert placed.shape == (16, 2)
    for part in placed.addressable_shards:
        np.testing.assert_array_equal(part.data, whole[part.index])
    batch = whole_batch({"rows": own}, shard)
    np.testing.assert_array_equal(batch["rows"], whole)
"""


@pytest.mark.slow
def test_two_processes_place_their_parts_and_find_the_whole():
    run_together(execute, TWO_PROCESSES, count=2, devices=4, timeout=240)
