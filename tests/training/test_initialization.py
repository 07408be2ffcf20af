import dataclasses
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio
import small
import stored
from array_data import ArrayDataset
from flax.traverse_util import flatten_dict

from dro_jax.errors import CheckpointError, DataError
from dro_jax.interop import formats
from dro_jax.models.layer_stacking import stack_layers
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROV, NLL
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.initialization import (
    check_tokenizer,
    pretrained_params,
    random_params,
)
from dro_jax.training.mesh_steps import device_fields
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.sharding import MeshConfig, ParamLayout
from dro_jax.training.state import TrainState

BATCH = device_fields(next(ArrayDataset().batches()))
ONE = MeshConfig(data=1)
ROOT = pathlib.Path(__file__).parents[2]
MIXED = MeshConfig(data=4, model=2, fsdp=True)


@pytest.fixture(scope="module")
def policy():
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    return jax.device_get(small.init(model, BATCH))


@pytest.fixture
def fill(tmp_path):
    """Saves parameters as a checkpoint, and starts a DRO-V model from it."""

    def fill(pretrained, value=None, key=0, mesh=ONE):
        folder = tmp_path / f"saved_{len(list(tmp_path.iterdir()))}"
        checkpointer = Checkpointer(folder, CheckpointConfig())
        state = TrainState(step=jnp.int32(1), params=pretrained, opt_state={})
        checkpointer.save(state, RunProgress())
        checkpointer.close()
        model = FeedbackModel(network=small.NETWORK, objective=DROV(), value=value)
        layout = ParamLayout.of(model, BATCH, mesh.build())
        return pretrained_params(model, folder, jax.random.key(key), BATCH, layout)

    return fill


def assert_same(tree, other):
    for a, b in zip(small.leaves(tree), small.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_policy_and_value_trunk_take_the_checkpoint(policy, fill):
    params = fill(policy)
    assert_same(FeedbackModel.policy_params(params), policy)
    assert_same(params["value"]["encoder"], policy["encoder"])
    assert "logits_dense" not in params["value"]["decoder"]
    assert np.std(params["value"]["head"]["kernel"]) > 0


def test_a_value_estimate_in_the_checkpoint_is_taken(policy, fill):
    once = jax.device_get(fill(policy, key=0))
    twice = fill(once, key=1)
    assert_same(twice["value"], once["value"])


def test_a_trunk_of_another_size_is_fresh(policy, fill):
    trunk = dataclasses.replace(small.NETWORK, mlp_dim=16)
    params = fill(policy, ValueConfig(trunk=trunk))
    assert_same(FeedbackModel.policy_params(params), policy)
    fresh = params["value"]["encoder"]["encoder_norm"]["scale"]
    np.testing.assert_array_equal(fresh, 1)


def test_what_does_not_fit_is_named(policy, fill):
    broken = {**policy, "extra": {"w": np.zeros(2)}}
    del broken["token_embedder"]
    with pytest.raises(CheckpointError) as caught:
        fill(broken)
    for part in ("saved_0", "missing token_embedder/embedding", "unexpected extra/w"):
        assert part in str(caught.value)


def test_parameters_are_born_in_their_shards(policy, fill):
    params = fill(policy, mesh=MIXED)
    assert_same(FeedbackModel.policy_params(params), policy)
    assert_same(params["value"]["encoder"], policy["encoder"])
    for tree in (params, params["value"]):
        embedding = tree["token_embedder"]["embedding"]
        assert embedding.addressable_shards[0].data.size == embedding.size // 8


def test_what_value_and_policy_share_is_read_once(tmp_path, policy, monkeypatch):
    flat = flatten_dict(policy, sep="/")
    reads = []

    def counted(name, leaf):
        def read():
            reads.append(name)
            return leaf.read()

        return dataclasses.replace(leaf, read=read)

    model = stored.stored_model(flat)
    leaves = {name: counted(name, leaf) for name, leaf in model.policy.items()}
    model = dataclasses.replace(model, policy=leaves)
    monkeypatch.setattr(formats, "open_model", lambda path, *, scan_layers: model)
    params = start(tmp_path)
    assert sorted(reads) == sorted(flat)
    assert_same(params["value"]["encoder"], policy["encoder"])
    embeddings = [
        tree["token_embedder"]["embedding"] for tree in (params, params["value"])
    ]
    pointers = [
        array.addressable_shards[0].data.unsafe_buffer_pointer() for array in embeddings
    ]
    assert pointers[0] != pointers[1]  # a step donates both


def start(path, network=small.NETWORK, key=0, mesh=ONE):
    """The parameters of a DRO-V model that starts from a stored one."""
    model = FeedbackModel(network=network, objective=DROV())
    layout = ParamLayout.of(model, BATCH, mesh.build())
    return pretrained_params(model, path, jax.random.key(key), BATCH, layout)


@pytest.mark.parametrize("format", ["t5x", "t5x-legacy", "dro-jax", "hf"])
@pytest.mark.parametrize(
    ("stored_scanned", "scan_layers", "mesh"),
    [(False, False, ONE), (True, False, ONE), (False, True, MIXED), (True, True, ONE)],
)
def test_any_format_and_layout_is_taken(
    tmp_path, policy, format, stored_scanned, scan_layers, mesh
):
    flat = flatten_dict(policy, sep="/")
    arrays = stored.stacked(flat) if stored_scanned else flat
    formats.write_model(stored.stored_model(arrays), tmp_path / "model", format)
    network = dataclasses.replace(small.NETWORK, scan_layers=scan_layers)
    params = start(tmp_path / "model", network, mesh=mesh)
    expected = stack_layers(policy) if scan_layers else policy
    assert_same(FeedbackModel.policy_params(params), expected)
    assert_same(params["value"]["encoder"], expected["encoder"])
    assert np.std(params["value"]["head"]["kernel"]) > 0


def test_the_values_own_parameters_are_taken_in_any_layout(tmp_path, policy):
    flat = flatten_dict(policy, sep="/")
    value = stored.value_arrays(flat)
    formats.write_model(
        stored.stored_model(flat, value), tmp_path / "model", "t5x-legacy"
    )
    network = dataclasses.replace(small.NETWORK, scan_layers=True)
    params = start(tmp_path / "model", network)
    head = value.pop("head/kernel")
    np.testing.assert_array_equal(params["value"]["head"]["kernel"], head)
    expected = stored.stacked(value)
    found = flatten_dict(params["value"], sep="/")
    del found["head/kernel"]
    stored.assert_same({n: np.asarray(x) for n, x in found.items()}, expected)


def test_bfloat16_becomes_the_models_type(tmp_path, policy):
    half = {
        name: np.asarray(jnp.asarray(array, jnp.bfloat16))
        for name, array in flatten_dict(policy, sep="/").items()
    }
    formats.write_model(stored.stored_model(half), tmp_path / "model", "t5x")
    params = start(tmp_path / "model")
    found = flatten_dict(FeedbackModel.policy_params(params), sep="/")
    for name, array in half.items():
        assert found[name].dtype == jnp.float32
        np.testing.assert_array_equal(found[name], array.astype(np.float32))


@pytest.mark.parametrize("rows", [32, 64])
def test_another_vocabulary_is_refused(tmp_path, policy, rows):
    formats.write_model(
        stored.stored_model(flatten_dict(policy, sep="/")), tmp_path / "model", "t5x"
    )
    network = dataclasses.replace(small.NETWORK, vocab_size=rows)
    with pytest.raises(CheckpointError, match=f"has 40 rows .* the model's {rows}"):
        start(tmp_path / "model", network)


def test_random_parameters_do_not_depend_on_the_mesh():
    model = FeedbackModel(network=small.NETWORK, objective=DROV())

    def draw(mesh):
        layout = ParamLayout.of(model, BATCH, mesh.build())
        return random_params(model, jax.random.key(3), BATCH, layout)

    assert_same(draw(MIXED), draw(ONE))


def test_a_vocabulary_other_than_the_checkpoints_tokenizer_is_refused(
    tmp_path, policy
):
    flat = flatten_dict(policy, sep="/")
    formats.write_model(stored.stored_model(flat), tmp_path / "model", "hf")
    check_tokenizer(tmp_path / "model", seqio.ByteVocabulary())  # none lies beside
    task = "tasks/support_desk/support_desk.model"
    shutil.copy(ROOT / task, tmp_path / "model" / "spiece.model")
    vocabulary = seqio.SentencePieceVocabulary(str(ROOT / task), 0)
    check_tokenizer(tmp_path / "model", vocabulary)
    with pytest.raises(DataError, match="of SentencePiece, but .* of bytes"):
        check_tokenizer(tmp_path / "model", seqio.ByteVocabulary())


def test_another_activation_is_refused(tmp_path, policy):
    flat = flatten_dict(policy, sep="/")
    model = stored.stored_model(flat)
    config = dataclasses.replace(model.config, mlp_activations=("silu", "linear"))
    model = dataclasses.replace(model, config=config)
    formats.write_model(model, tmp_path / "model", "hf")
    with pytest.raises(CheckpointError, match="set T5Config.mlp_activations"):
        start(tmp_path / "model")
