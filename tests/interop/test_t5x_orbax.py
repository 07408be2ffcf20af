"""T5X's Orbax checkpoints; the one in tests/golden/t5x was written by t5x.train."""

import dataclasses
import pathlib
import shutil
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import stored
from flax.traverse_util import unflatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from dro_jax.errors import CheckpointError
from dro_jax.interop.t5x_legacy import open_legacy, write_legacy
from dro_jax.interop.t5x_orbax import open_orbax, write_orbax

TOLERANCE = 1e-5
GOLDEN = stored.T5X / "tiny_orbax_checkpoint" / "checkpoint_20"
NAME = "decoder/layers_1/mlp/wo/kernel"


@pytest.fixture(scope="module")
def golden():
    return open_orbax(GOLDEN)


def test_a_checkpoint_of_t5x_is_read_exactly(golden):
    stored.assert_same(
        stored.read(golden.policy), stored.arrays_of("tiny_orbax_params")
    )
    assert (golden.format, golden.step) == ("t5x", 20)
    assert (golden.value, golden.reference) == ({}, {})
    (ignored,) = golden.ignored.items()
    assert ignored[0].startswith("state/param_states/… (") and "optim" in ignored[1]


def test_an_optimisers_lists_are_counted(tmp_path):
    policy = unflatten_dict(stored.arrays_of("t5_1_1_params"), sep="/")
    adam = [{"count": np.int32(3)}, {"mu": np.ones(2)}]
    tree = {"target": policy, "state": {"step": np.int32(3), "param_states": adam}}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint_3" / "state", tree)
    (ignored,) = open_orbax(tmp_path / "checkpoint_3").ignored
    assert ignored == "state/param_states/… (2 tensors)"


def test_each_device_reads_its_part(golden):
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    sharding = NamedSharding(mesh, PartitionSpec("model", "data"))
    placed = golden.policy[NAME].place(sharding)
    assert placed.sharding == sharding
    assert placed.addressable_shards[0].data.shape == (8, 2)
    np.testing.assert_array_equal(placed, stored.arrays_of("tiny_orbax_params")[NAME])


def test_what_is_written_is_read_back(tmp_path):
    policy = stored.arrays_of("t5_1_1_params")
    value = stored.value_arrays(policy)
    reference = {name: array - 1 for name, array in policy.items()}
    write_orbax(stored.stored_model(policy, value, reference, step=9), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_9"]
    model = open_orbax(tmp_path / "checkpoint_9")
    stored.assert_same(stored.read(model.policy), policy)
    stored.assert_same(stored.read(model.value), value)
    stored.assert_same(stored.read(model.reference), reference)
    assert model.step == 9 and not model.ignored


def test_the_step_may_be_a_number(tmp_path):
    import orbax.checkpoint as ocp

    arrays = unflatten_dict(stored.arrays_of("t5_1_1_params"), sep="/")
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = {"target": arrays, "state": {"step": 12}}
        checkpointer.save(tmp_path / "checkpoint_12" / "state", tree)
    assert open_orbax(tmp_path / "checkpoint_12").step == 12


def test_scanned_layers_and_bfloat16_are_kept(tmp_path):
    policy = {
        name: np.asarray(jnp.asarray(array, jnp.bfloat16))
        for name, array in stored.stacked(stored.arrays_of("t5_1_1_params")).items()
    }
    write_orbax(stored.stored_model(policy), tmp_path)
    model = open_orbax(tmp_path / "checkpoint_7")
    assert model.config.scan_layers
    stored.assert_same(stored.read(model.policy), policy)


@pytest.mark.parametrize("version", stored.VERSIONS)
def test_legacy_to_orbax_to_legacy_changes_nothing(version, tmp_path):
    io = stored.arrays_of(f"{version}_io")
    write_orbax(open_legacy(stored.legacy_path(version)), tmp_path / "orbax")
    orbax = open_orbax(tmp_path / "orbax" / "checkpoint_0")
    write_legacy(orbax, tmp_path / "legacy")
    legacy = open_legacy(tmp_path / "legacy" / "checkpoint_0")
    for model in (orbax, legacy):
        found = stored.read(model.policy)
        stored.assert_same(found, stored.arrays_of(f"{version}_params"))
        np.testing.assert_allclose(
            stored.logits(model, io), io["logits"], atol=TOLERANCE
        )


def test_one_array_at_a_time_is_in_memory(tmp_path):
    alive, most = set(), 0

    def counted(name, array):
        def read():
            nonlocal most
            found = np.array(array)
            alive.add(name)
            most = max(most, len(alive))
            weakref.finalize(found, alive.discard, name)
            return found

        return dataclasses.replace(stored.leaf(array, name), read=read)

    arrays = stored.arrays_of("t5_1_1_params")
    model = stored.stored_model(arrays)
    leaves = {name: counted(name, array) for name, array in arrays.items()}
    write_orbax(dataclasses.replace(model, policy=leaves), tmp_path)
    assert most <= 2


def truncate(path, keep=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def data_files(folder):
    return list(folder.glob("state/**/d/*"))


def remove_data(folder):
    for path in data_files(folder):
        path.unlink()


def truncate_data(folder):
    for path in data_files(folder):
        truncate(path)


def scramble_data(folder):
    for path in data_files(folder):
        path.write_bytes(bytes(range(256)) * (path.stat().st_size // 256 + 1))


DAMAGES = {
    "no data": remove_data,
    "truncated data": truncate_data,
    "random data": scramble_data,
    "truncated manifest": lambda folder: truncate(folder / "state" / "manifest.ocdbt"),
    "truncated metadata": lambda folder: truncate(folder / "state" / "_METADATA"),
    "random metadata": lambda folder: (folder / "state" / "_METADATA").write_bytes(
        bytes(range(256))
    ),
    "no state": lambda folder: shutil.rmtree(folder / "state"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    folder = stored.copied(GOLDEN, tmp_path)
    damage(folder)
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        stored.read(open_orbax(folder).policy)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("damage", [pathlib.Path.unlink, truncate])
def test_a_damaged_array_is_named(tmp_path, damage):
    policy = stored.arrays_of("t5_1_0_params")
    write_orbax(stored.stored_model(policy), tmp_path)
    folder = tmp_path / "checkpoint_7"
    # Each array has a file of its own, and the embedding's is the largest.
    damage(max(data_files(folder), key=lambda path: path.stat().st_size))
    model = open_orbax(folder)
    model.policy[NAME].read()
    with pytest.raises(CheckpointError) as caught:
        model.policy["token_embedder/embedding"].read()
    for part in ("target/token_embedder/embedding", str(folder)):
        assert part in str(caught.value)


def test_a_tree_of_another_library_is_named(tmp_path):
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint_1" / "state", {"w": np.ones(3)})
    with pytest.raises(CheckpointError, match="it has no 'target'"):
        open_orbax(tmp_path / "checkpoint_1")
