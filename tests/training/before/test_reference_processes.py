"""The reference's log-probabilities over several processes of one run."""

import jax
import numpy as np
import optax
import pytest
import small
from array_data import ArrayDataset
from several_processes import execute, run_together

from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROP
from dro_jax.training.before.reference import Reference
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.sharding import MeshConfig

PROCESS = """
import sys
import jax, numpy as np, optax, small
from array_data import ArrayDataset
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROP
from dro_jax.training.before.reference import Reference
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.sharding import MeshConfig

class OwnRows(ArrayDataset):
    def batches(self, start=(0, 0), shard=(0, 1)):
        asked.add(shard)
        return super().batches(start, shard)

first = next(ArrayDataset().batches())
saved, folder = sys.argv[1:]
index = jax.process_index()
# Each process its own rows; a model over both, so that both hold all rows.
for data, shard in ((4, (index, 2)), (1, (0, 1))):
    model = FeedbackModel(network=small.NETWORK, objective=DROP())
    mesh = MeshConfig(data=data, model=4 // data).build()
    steps = MeshSteps(model, optax.sgd(0.1), mesh, first, key=jax.random.key(0))
    cache = f"{folder}/{data}"
    reference = Reference(model, saved, steps, cache_dir=cache, part_seconds=0)
    asked = set()
    table = reference.table(OwnRows())
    assert reference.num_forwards == 6 and asked == {shard}
    found = reference.table(OwnRows()).attach(first)["reference_logprobs"]
    assert reference.num_forwards == 6
    np.save(f"{folder}/found-{data}-{index}.npy", found)
"""


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path):
    model = FeedbackModel(network=small.NETWORK, objective=DROP())
    first = next(ArrayDataset().batches())
    mesh = MeshConfig(data=1).build()
    steps = MeshSteps(model, optax.sgd(0.1), mesh, first, key=jax.random.key(0))
    saved = tmp_path / "saved"
    checkpointer = Checkpointer(saved, CheckpointConfig())
    checkpointer.save(steps.start(None, jax.random.key(1)), RunProgress())
    checkpointer.close()
    alone = Reference(model, str(saved), steps, cache_dir=tmp_path / "alone")
    wanted = alone.table(ArrayDataset()).attach(first)["reference_logprobs"]
    arguments = (str(saved), str(tmp_path))
    run_together(execute, PROCESS, *arguments, count=2, devices=2, timeout=240)
    for data in (4, 1):
        parts = list((tmp_path / str(data) / "copying-train").glob("part-*"))
        assert len(parts) == 6
        for index in range(2):
            found = np.load(tmp_path / f"found-{data}-{index}.npy")
            np.testing.assert_allclose(found, wanted, rtol=1e-5)
