import dataclasses

import jax
import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import CheckpointError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROV, NLL
from dro_jax.training.initialization import pretrained_params
from dro_jax.training.train import on_device

BATCH = on_device(next(ArrayDataset().batches()))


@pytest.fixture(scope="module")
def policy():
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    return jax.device_get(small.init(model, BATCH))


def fill(pretrained, value=None, key=0):
    model = FeedbackModel(network=small.NETWORK, objective=DROV(), value=value)
    return pretrained_params(model, pretrained, jax.random.key(key), BATCH, "/folder")


def assert_same(tree, other):
    for a, b in zip(small.leaves(tree), small.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_policy_and_value_trunk_take_the_checkpoint(policy):
    params = fill(policy)
    assert_same(FeedbackModel.policy_params(params), policy)
    assert_same(params["value"]["encoder"], policy["encoder"])
    assert "logits_dense" not in params["value"]["decoder"]
    assert np.std(params["value"]["head"]["kernel"]) > 0


def test_a_value_estimate_in_the_checkpoint_is_taken(policy):
    once = jax.device_get(fill(policy, key=0))
    twice = fill(once, key=1)
    assert_same(twice["value"], once["value"])


def test_a_trunk_of_another_size_is_fresh(policy):
    trunk = dataclasses.replace(small.NETWORK, mlp_dim=16)
    params = fill(policy, ValueConfig(trunk=trunk))
    assert_same(FeedbackModel.policy_params(params), policy)
    fresh = params["value"]["encoder"]["encoder_norm"]["scale"]
    np.testing.assert_array_equal(fresh, 1)


def test_what_does_not_fit_is_named(policy):
    broken = {**policy, "extra": {"w": np.zeros(2)}}
    del broken["token_embedder"]
    with pytest.raises(CheckpointError) as caught:
        fill(broken)
    for part in ("/folder", "missing token_embedder/embedding", "unexpected extra/w"):
        assert part in str(caught.value)
