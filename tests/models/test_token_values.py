"""A value at each token (`Needs.token_values`): whose it is, and whom its loss trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import trajectory_mask
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import OREO, TBRM

MODEL = FeedbackModel(network=small.NETWORK, objective=OREO(0.5, kl_weight=0.3))


def with_reference(batch):
    """Numbers for the reference that depend on the token alone, not on its place."""
    tokens = np.asarray(batch["decoder_target_tokens"])
    per_token = np.where(tokens > 0, -0.1 * (tokens % 7 + 1), 0.0)
    summed = np.einsum("bts,bt->bs", trajectory_mask(batch), per_token)
    return batch | {
        "reference_token_logprobs": jnp.asarray(per_token, jnp.float32),
        "reference_logprobs": jnp.asarray(summed, jnp.float32),
    }


@pytest.fixture(scope="module")
def items():
    return small.examples()


@pytest.fixture(scope="module")
def plain(items):
    return with_reference(small.unpacked(items))


@pytest.fixture(scope="module")
def packed(items):
    return with_reference(small.pack([items[:2], items[2:]]))


@pytest.fixture(scope="module")
def params(plain):
    return small.init(MODEL, plain)


@pytest.fixture(scope="module")
def gradient():
    return jax.jit(
        jax.value_and_grad(lambda p, b, n: MODEL.loss(p, b, normalizer=n)[0])
    )


@pytest.fixture(scope="module")
def trajectories():
    return jax.jit(MODEL.trajectories)


def own(trajectories, index):
    """The values of a trajectory's own tokens, in order."""
    mask = np.asarray(trajectories.token_weights[index]) > 0
    return np.asarray(trajectories.token_values[index])[mask]


def test_a_packed_response_has_the_values_that_it_has_alone(
    plain, packed, params, trajectories, items
):
    alone, together = trajectories(params, plain), trajectories(params, packed)
    for index, item in enumerate(items):
        values = own(alone, index)
        assert len(values) == len(item["response"]) and np.ptp(values) > 1e-3
        np.testing.assert_allclose(own(together, index), values, atol=1e-5)


def test_loss_and_gradient_do_not_see_packing_or_microbatches(
    plain, packed, params, gradient
):
    whole = gradient(params, plain, 4.0)
    halves = [
        gradient(params, jax.tree.map(lambda x, s=s: x[s], packed), 4.0)
        for s in (slice(0, 1), slice(1, 2))
    ]
    parts = jax.tree.map(jnp.add, *halves)
    assert whole[0] > 0.1
    for found, expected in zip(small.leaves(parts), small.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_neither_neighbour_nor_padding_leaks(packed, params, gradient):
    """Of a row's two responses one has the weight 0: it may say what it likes."""
    row = jax.tree.map(lambda x: x[:1], packed)
    first = row | {"trajectory_weights": jnp.array([[1.0, 0.0]])}
    other = first["decoder_segment_ids"] != 1
    changed = first | {
        "decoder_target_tokens": jnp.where(
            other & (first["decoder_target_tokens"] > 0),
            first["decoder_target_tokens"] % 37 + 2,
            first["decoder_target_tokens"],
        ),
        "reference_token_logprobs": jnp.where(
            other, -9.0, first["reference_token_logprobs"]
        ),
        "rewards": first["rewards"].at[0, 1].set(50.0),
    }
    kept, found = (gradient(params, batch, 4.0) for batch in (first, changed))
    assert kept[0] > 0.1
    for a, b in zip(small.leaves(kept), small.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_each_loss_trains_its_own_network(plain, params, gradient):
    def loss(params, which):
        found = MODEL.objective(MODEL.trajectories(params, plain))
        return jnp.mean(getattr(found, which))

    of = jax.jit(lambda p: {w: jax.grad(loss)(p, w) for w in LOSSES})(params)
    for which, trained in LOSSES.items():
        for name, tree in of[which].items():
            sizes = [np.abs(leaf).max() for leaf in small.leaves(tree)]
            assert (max(sizes) > 1e-6) == (trained == (name == "value")), (which, name)
    # The model's own loss, a chunk of rows at a time, is these two together.
    total = jax.tree.map(jnp.add, *of.values())
    found = gradient(params, plain, 4.0)[1]
    for a, b in zip(small.leaves(found), small.leaves(total), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


LOSSES = {"policy": False, "value": True}  # whether it is the value network's


def test_tbrm_trains_the_policy_through_its_own_normaliser(plain, params):
    """Both ways of the gradient: by log-probabilities and by V, there is no `value`."""
    model = FeedbackModel(network=small.NETWORK, objective=TBRM(0.5))
    assert model.value_config == ValueConfig(network="policy_logits")
    shapes, _ = jax.eval_shape(lambda key: model.init(key, plain), jax.random.key(0))
    assert "value" not in shapes
    params = model.policy_params(params)

    def loss(params):
        return jnp.mean(model.objective(model.trajectories(params, plain)).policy)

    both = jax.jit(
        lambda p: (jax.grad(loss)(p), jax.grad(lambda p: model.loss(p, plain)[0])(p))
    )
    expected, found = both(params)
    assert max(np.abs(leaf).max() for leaf in small.leaves(expected)) > 0.1
    for a, b in zip(small.leaves(found), small.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("objective", "value", "message"),
    [
        (OREO(), ValueConfig(), "OREO reads a value at each token, .*'sequence': set"),
        (TBRM(), ValueConfig(), "TBRM takes the policy's own logits .*'separate' and"),
        (
            TBRM(),
            ValueConfig(network="policy_logits", granularity="batch"),
            "granularity = 'batch': set ValueConfig.network = 'policy_logits' and leave",
        ),
    ],
)
def test_another_value_is_refused(objective, value, message):
    with pytest.raises(ConfigError, match=message):
        FeedbackModel(network=small.NETWORK, objective=objective, value=value)
