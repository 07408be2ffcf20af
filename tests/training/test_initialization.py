import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import CheckpointError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROV, NLL
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.initialization import pretrained_params, random_params
from dro_jax.training.mesh_steps import device_fields
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.sharding import MeshConfig, ParamLayout
from dro_jax.training.state import TrainState

BATCH = device_fields(next(ArrayDataset().batches()))
ONE = MeshConfig(data=1)
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


def test_random_parameters_do_not_depend_on_the_mesh():
    model = FeedbackModel(network=small.NETWORK, objective=DROV())

    def draw(mesh):
        layout = ParamLayout.of(model, BATCH, mesh.build())
        return random_params(model, jax.random.key(3), BATCH, layout)

    assert_same(draw(MIXED), draw(ONE))
