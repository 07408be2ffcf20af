"""What each value estimate computes, and what it may see."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig, logits_value
from dro_jax.objectives import DROV

CONFIGS = [
    ValueConfig(),
    ValueConfig(readout="encoder_pool"),
    ValueConfig(granularity="token"),
    ValueConfig(granularity="batch"),
    ValueConfig(network="shared_head"),
    ValueConfig(network="shared_head", readout="encoder_pool"),
    ValueConfig(network="shared_head", granularity="token", trunk_gradient=True),
    ValueConfig(network="shared_head", granularity="batch"),
    ValueConfig(network="policy_logits"),
    ValueConfig(network="policy_logits", granularity="token"),
    ValueConfig(network="policy_logits", granularity="batch"),
]


def name(config):
    parts = (config.network, config.granularity, config.readout, config.trunk_gradient)
    return "-".join(str(part) for part in parts if part)


every = pytest.mark.parametrize("config", CONFIGS, ids=name)
of = lambda **kind: pytest.mark.parametrize(
    "config",
    [c for c in CONFIGS if all(getattr(c, k) == v for k, v in kind.items())],
    ids=name,
)


@functools.cache
def separate_params():
    batch = small.unpacked(small.examples())
    return small.init(FeedbackModel(network=small.NETWORK, objective=DROV()), batch)


def build(config):
    """The model and parameters for it, all cut from one (slow) initialisation."""
    model = FeedbackModel(network=small.NETWORK, objective=DROV(), value=config)
    params = dict(separate_params())
    value = params.pop("value")
    if config.network == "separate":
        params["value"] = value
    elif config.network == "shared_head":
        params["value"] = value["head"]
    return model, params


def values(model, params, batch):
    batch = batch | {"reference_logprobs": jnp.zeros_like(batch["rewards"])}
    return _values(model)(params, batch)


@functools.cache
def _values(model):
    return jax.jit(lambda params, batch: model.trajectories(params, batch).values)


@of(granularity="sequence")
def test_sequence_values_do_not_change_with_the_response(config):
    items = small.examples()
    batch = small.unpacked(items)
    model, params = build(config)
    others = [dict(item, response=item["response"][::-1].copy()) for item in items]
    changed = small.unpacked(others)
    assert not np.array_equal(
        batch["decoder_target_tokens"], changed["decoder_target_tokens"]
    )
    np.testing.assert_allclose(
        values(model, params, batch), values(model, params, changed), atol=1e-6
    )


@of(granularity="sequence")
def test_sequence_values_change_with_their_own_prompt_only(config):
    items = small.examples()
    model, params = build(config)
    before = values(model, params, small.unpacked(items))
    items[1] = dict(items[1], prompt=items[1]["prompt"][::-1].copy() % 39 + 1)
    after = values(model, params, small.unpacked(items))
    assert abs(before[1] - after[1]) > 1e-4
    others = np.array([0, 2, 3])
    np.testing.assert_allclose(before[others], after[others], atol=1e-6)


@of(granularity="token")
def test_token_values_see_only_earlier_response_tokens(config):
    items = small.examples(lengths=((5, 6),))
    model, params = build(config)
    before = values(model, params, small.unpacked(items))
    response = items[0]["response"].copy()
    response[3] = response[3] % 37 + 2 + (response[3] % 37 + 2 == response[3])
    after = values(model, params, small.unpacked([dict(items[0], response=response)]))
    np.testing.assert_allclose(before[:4], after[:4], atol=1e-6)
    assert np.max(np.abs(before[4:6] - after[4:6])) > 1e-5


@of(granularity="batch")
def test_batch_value_is_the_mean_of_the_sequence_values(config):
    batch = small.unpacked(small.examples())
    model, params = build(config)
    alone = ValueConfig(network=config.network, granularity="sequence")
    sequence = FeedbackModel(network=small.NETWORK, objective=DROV(), value=alone)
    np.testing.assert_allclose(
        values(model, params, batch),
        np.full(4, np.mean(values(sequence, params, batch))),
        rtol=1e-5,
    )


@every
def test_packing_changes_no_value(config):
    items = small.examples()
    plain, packed = small.unpacked(items), small.pack([items[:2], items[2:]])
    model, params = build(config)
    scores = jax.jit(model.score)(params, plain)
    scores_packed = jax.jit(model.score)(params, packed)
    for key in ("logprobs", "values"):
        np.testing.assert_allclose(
            scores_packed[key].ravel(), scores[key].ravel(), atol=1e-5
        )


@every
def test_a_padding_row_changes_no_loss_or_gradient_and_is_finite(config):
    items = small.examples()
    batch = small.unpacked(items)
    padded = {k: jnp.pad(v, [(0, 2)] + [(0, 0)] * (v.ndim - 1)) for k, v in batch.items()}
    model, params = build(config)

    def loss(params, batch):
        batch = batch | {"reference_logprobs": batch["rewards"] - 20.0}
        return model.loss(params, batch)[0]

    step = jax.jit(jax.value_and_grad(loss))
    value, grads = step(params, batch)
    value_padded, grads_padded = step(params, padded)
    np.testing.assert_allclose(value_padded, value, rtol=1e-5)
    for a, b in zip(small.leaves(grads_padded), small.leaves(grads), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def value_loss_gradient(config):
    batch = small.unpacked(small.examples())
    batch["reference_logprobs"] = batch["rewards"] - 20.0
    model, params = build(config)

    def loss(params):
        trajectories = model.trajectories(params, batch)
        return jnp.sum(model.objective(trajectories).value)

    return jax.jit(jax.grad(loss))(params)


@pytest.mark.parametrize("network", ["separate", "shared_head"])
def test_value_loss_does_not_reach_the_policy(network):
    grads = value_loss_gradient(ValueConfig(network=network))
    policy = FeedbackModel.policy_params(grads)
    assert all(np.all(leaf == 0) for leaf in small.leaves(policy))
    assert any(np.any(leaf != 0) for leaf in small.leaves(grads["value"]))


@pytest.mark.parametrize(
    "config",
    [
        ValueConfig(network="shared_head", trunk_gradient=True),
        ValueConfig(network="policy_logits"),
    ],
    ids=name,
)
def test_value_loss_reaches_the_trunk_where_asked(config):
    policy = FeedbackModel.policy_params(value_loss_gradient(config))
    assert any(np.any(leaf != 0) for leaf in small.leaves(policy))


def test_logits_value_is_the_normaliser():
    # By hand: log(e^1 + e^3) − log 2.
    np.testing.assert_allclose(
        logits_value(jnp.array([1.0, 3.0])), np.log(np.e + np.e**3) - np.log(2), rtol=1e-6
    )
    assert float(logits_value(jnp.zeros(7))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "none"}, "ValueConfig.network = 'none' is unknown"),
        ({"granularity": "word"}, "ValueConfig.granularity = 'word' is unknown"),
        ({"trunk_gradient": True}, "trunk_gradient has no effect"),
        ({"network": "shared_head", "trunk": small.NETWORK}, "trunk has no effect"),
        ({"granularity": "token", "readout": "encoder_pool"}, "readout has no effect"),
        ({"network": "policy_logits", "readout": "encoder_pool"}, "readout has no eff"),
    ],
)
def test_settings_without_effect_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ValueConfig(**settings)


@pytest.mark.parametrize("network", ["separate", "shared_head"])
def test_initialisation_gives_the_tree_that_the_forward_pass_reads(network):
    config = ValueConfig(network=network)
    model, params = build(config)
    batch = small.unpacked(small.examples())
    initialised = jax.eval_shape(lambda key: model.init(key, batch)[0], jax.random.key(0))
    assert jax.tree.structure(initialised) == jax.tree.structure(params)


def test_every_network_and_granularity_is_tested():
    tested = {(c.network, c.granularity) for c in CONFIGS}
    networks = ("separate", "shared_head", "policy_logits")
    expected = itertools.product(networks, ("sequence", "token", "batch"))
    assert set(expected) <= tested
