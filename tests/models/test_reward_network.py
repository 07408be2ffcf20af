"""A reward model: a trajectory's score wherever it lies, and what it is made of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dro_jax.errors import ConfigError
from dro_jax.models.joined_tokens import joined
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import policy_params
from dro_jax.models.reward_network import RewardConfig
from dro_jax.objectives import NLL, BradleyTerry, Needs, Objective, RewardRegression
from dro_jax.training.microbatches import loss_and_gradient

EXAMPLES = small.examples()
GROUPS = small.groups()
REGRESSION = RewardRegression()
pools = pytest.mark.parametrize("pool", ["mean", "response_mean", "attention"])


@functools.cache
def model_of(pool, objective=REGRESSION):
    return FeedbackModel(
        network=small.NETWORK, objective=objective, reward=RewardConfig(pool)
    )


@functools.cache
def scores_of(pool):
    """Parameters, and the compiled scores of a batch."""
    model = model_of(pool)
    params = small.init(model, small.unpacked(EXAMPLES))
    return params, jax.jit(lambda batch: model.row_outputs(params, batch).scores)


def present(batch, scores):
    return np.asarray(scores)[np.asarray(batch["trajectory_weights"]) > 0]


@pools
def test_packing_and_groups_change_no_score(pool):
    _, scores = scores_of(pool)
    alone = scores(small.unpacked(EXAMPLES))[:, 0]
    assert np.ptp(alone) > 0.1
    packed = small.pack([EXAMPLES[:3], EXAMPLES[3:]], input_length=16)
    np.testing.assert_allclose(present(packed, scores(packed)), alone, atol=1e-5)
    items = [item for group in GROUPS for item in group]
    alone = scores(small.unpacked(items))[:, 0]
    batch = small.pack_groups([GROUPS[:2], GROUPS[2:]], 3)
    np.testing.assert_allclose(present(batch, scores(batch)), alone, atol=1e-5)


@pools
def test_padding_changes_no_score(pool):
    _, scores = scores_of(pool)
    batch = small.unpacked(EXAMPLES)
    wider = batch | {
        name: jnp.pad(batch[name], ((0, 0), (0, 5)))
        for name in batch
        if name.startswith(("encoder", "decoder"))
    }
    np.testing.assert_allclose(scores(wider), scores(batch), atol=1e-5)


def test_a_row_of_two_trajectories_is_joined_so():
    batch = {
        "encoder_input_tokens": jnp.array([[5, 6, 7, 0]]),
        "encoder_segment_ids": jnp.array([[1, 1, 2, 0]]),
        "decoder_target_tokens": jnp.array([[8, 9, 4, 0]]),
        "decoder_segment_ids": jnp.array([[1, 2, 2, 0]]),
        "trajectory_weights": jnp.ones((1, 2)),
    }
    found = joined(batch)
    np.testing.assert_array_equal(found.tokens, [[5, 6, 8, 7, 9, 4, 0, 0]])
    np.testing.assert_array_equal(found.segments, [[1, 1, 1, 2, 2, 2, 0, 0]])
    np.testing.assert_array_equal(found.is_response, [[0, 0, 1, 0, 1, 1, 0, 0]])
    # The same as one group of two: both answer the first prompt, in a row each.
    grouped = batch | {
        "encoder_input_tokens": jnp.array([[5, 6, 0, 0]]),
        "encoder_segment_ids": jnp.array([[1, 1, 0, 0]]),
        "group_weights": jnp.ones((1, 1)),
    }
    found = joined(grouped)
    np.testing.assert_array_equal(
        found.tokens, [[5, 6, 8, 0, 0, 0, 0, 0], [5, 6, 9, 4, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(found.by_row(jnp.array([[1.0], [2.0]])), [[1, 2]])


def test_it_has_an_encoder_by_t5x_s_names_and_no_decoder():
    batch = small.unpacked(EXAMPLES)
    policy = FeedbackModel(network=small.NETWORK, objective=NLL())
    shapes = jax.eval_shape(lambda: policy.init(jax.random.key(0), batch)[0])
    params, _ = scores_of("attention")
    assert params.keys() == {"token_embedder", "encoder", "reward"}
    assert policy_params(params) == params
    for name in ("token_embedder", "encoder"):
        assert jax.tree.map(jnp.shape, params[name]) == jax.tree.map(
            jnp.shape, shapes[name]
        )
    assert params["reward"]["head"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize("objective", [RewardRegression(), BradleyTerry()])
def test_the_loss_is_that_of_its_scores(objective):
    model = model_of("mean", objective)
    params, scores = scores_of("mean")
    batch = small.pack_groups([[GROUPS[1]], [GROUPS[1]]], 2)
    (loss, metrics), gradient = jax.jit(jax.value_and_grad(model.loss, has_aux=True))(
        params, batch
    )
    found, rewards = np.asarray(scores(batch)), np.asarray(batch["rewards"])
    if isinstance(objective, BradleyTerry):
        wanted = np.log1p(np.exp(-(found[:, 0] - found[:, 1]))).mean()
    else:
        wanted = np.square(found - rewards).mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(
        metrics["scores/mean"].compute(), found.mean(), rtol=1e-5
    )
    assert min(np.abs(leaf).max() for leaf in small.leaves(gradient)) > 0


def test_microbatches_of_unequal_parts_change_nothing():
    model = model_of("mean", BradleyTerry())
    params, _ = scores_of("mean")
    batch = small.pack_groups([GROUPS[:2], GROUPS[2:], GROUPS[:1], GROUPS[1:2]], 3)

    def gradient(count):
        step = functools.partial(loss_and_gradient, model, num_microbatches=count)
        (loss, metrics), grads = jax.jit(step)(params, batch)
        return [metrics["pearson"].compute(), *small.leaves((loss, grads))]

    for one, two in zip(gradient(1), gradient(2), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)


class Mixed(Objective):
    needs = Needs(scores=True, reference=True)

    def __call__(self, trajectories):
        raise AssertionError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: model_of("last"), "pool = 'last' .POOL. is unknown"),
        (
            lambda: model_of("mean", NLL()),
            "NLL trains a policy, but FeedbackModel.reward",
        ),
        (lambda: model_of("mean", Mixed()), "which has no reference"),
        (
            lambda: model_of("mean").logprobs({}, small.unpacked(EXAMPLES)),
            "a reward model has no policy",
        ),
        (
            lambda: model_of("mean").get_initial_variables(jax.random.key(0), {}),
            "RewardRegression trains a reward model, which T5X's trainer does not know",
        ),
    ],
)
def test_what_it_cannot_be_or_give_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
