import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dro_jax import metrics as metrics_lib
from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import note_spare_rows
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROP, DROV, NLL


@pytest.fixture(scope="module")
def batch():
    return small.unpacked(small.examples())


@pytest.fixture(scope="module")
def drov(batch):
    model = FeedbackModel(network=small.NETWORK, objective=DROV(0.5))
    return model, small.init(model, batch)


def test_policy_at_the_root_and_value_beside_it(drov):
    _, params = drov
    assert set(params) == {"token_embedder", "encoder", "decoder", "value"}
    assert set(params["value"]) == {"token_embedder", "encoder", "decoder", "head"}


def test_axes_name_every_parameter(drov, batch):
    model, _ = drov
    params, axes = jax.eval_shape(lambda k: model.init(k, batch), jax.random.key(0))
    assert set(axes) == set(params)
    assert axes["value"]["head"]["kernel_axes"].names == ("embed", "kv")


def test_reference_as_frozen_copy_or_cached_gives_the_same_loss(drov, batch):
    model, params = drov
    other = jax.tree.map(lambda x: x * 1.1, model.policy_params(params))
    cached = batch | {"reference_logprobs": model.logprobs(other, batch)}
    loss = jax.jit(model.loss)
    a, _ = loss(params, batch, reference_params=other)
    b, _ = loss(params, cached)
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_frozen_copy_gets_no_gradient(drov, batch):
    model, params = drov
    reference = model.policy_params(params)
    grads = jax.jit(
        jax.grad(lambda r: model.loss(params, batch, reference_params=r)[0])
    )(reference)
    assert all(np.all(leaf == 0) for leaf in small.leaves(grads))


def test_step_zero_log_ratio_is_zero(drov, batch):
    model, params = drov
    trajectories = jax.jit(model.trajectories)(
        params, batch, reference_params=model.policy_params(params)
    )
    np.testing.assert_array_equal(trajectories.log_ratios, 0)


def test_packing_changes_neither_loss_nor_gradient(drov):
    model, params = drov
    items = small.examples()
    plain = small.unpacked(items)
    packed = small.pack([items[:3], items[3:]], input_length=15)

    def loss(params, batch):
        reference = batch["rewards"] - 20.0
        return model.loss(params, batch | {"reference_logprobs": reference})[0]

    step = jax.jit(jax.value_and_grad(loss))
    a, grads_a = step(params, plain)
    b, grads_b = step(params, packed)
    np.testing.assert_allclose(a, b, rtol=1e-5)
    for x, y in zip(small.leaves(grads_a), small.leaves(grads_b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


def test_microbatches_add_up(drov, batch):
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    params = model.policy_params(drov[1])
    loss = jax.jit(model.loss)
    whole, metrics = loss(params, batch)
    halves = [{k: v[s] for k, v in batch.items()} for s in (slice(0, 1), slice(1, 4))]
    parts = [loss(params, half, normalizer=jnp.float32(4)) for half in halves]
    np.testing.assert_allclose(sum(part for part, _ in parts), whole, rtol=1e-5)
    merged = metrics_lib.compute(metrics_lib.merge(parts[0][1], parts[1][1]))
    for name, value in metrics_lib.compute(metrics).items():
        np.testing.assert_allclose(merged[name], value, rtol=1e-4)


def test_dropout_only_where_a_key_is_given(drov, batch):
    network = dataclasses.replace(small.NETWORK, dropout_rate=0.5)
    model = FeedbackModel(network=network, objective=NLL())
    params = model.policy_params(drov[1])
    assert model.uses_dropout
    loss = jax.jit(model.loss)
    still = [loss(params, batch)[0] for _ in range(2)]
    drawn = [loss(params, batch, dropout_rng=jax.random.key(k))[0] for k in (1, 2)]
    assert still[0] == still[1]
    assert len({float(x) for x in (still[0], *drawn)}) == 3


def test_metric_names(drov, batch):
    model, params = drov
    _, metrics = jax.jit(model.loss)(
        params, batch, reference_params=model.policy_params(params)
    )
    expected = {
        "loss", "loss/policy", "loss/value", "rewards/mean", "logps/policy",
        "logps/reference", "kl", "residual", "value/mean", "value/explained_variance",
        "reward_logratio_correlation", "num_tokens", "num_trajectories",
        "padding_fraction", "logratio/mean_square", "logratio/largest",
        "logratio/largest_per_root_token",
    }  # fmt: skip
    assert expected == set(metrics)
    values = metrics_lib.compute(metrics)
    assert values["num_trajectories"] == 4
    assert values["num_tokens"] == 18 + 16
    assert values["padding_fraction"] == pytest.approx(1 - 34 / (4 * 24))
    assert values["rewards/mean"] == pytest.approx(
        float(batch["rewards"].mean()), rel=1e-5
    )


def test_a_value_that_no_objective_uses_is_refused():
    with pytest.raises(ConfigError, match="DROP uses no value estimate"):
        FeedbackModel(network=small.NETWORK, objective=DROP(), value=ValueConfig())


def test_a_missing_reference_is_named(drov, batch):
    model, params = drov
    with pytest.raises(ConfigError, match="DROV needs the reference policy"):
        model.loss(params, batch)


def test_a_vocabulary_that_does_not_fit_is_refused():
    class Vocabulary:
        vocab_size = 41

    with pytest.raises(
        ConfigError,
        match="41 pieces but T5Config.vocab_size is 40.*VOCAB_SIZE .* to 128",
    ):
        FeedbackModel(
            network=small.NETWORK, objective=NLL(), output_vocabulary=Vocabulary()
        )


def test_rows_far_beyond_the_vocabulary_are_told(capsys):
    class Vocabulary:
        vocab_size = 259

    vocabulary = Vocabulary()
    note_spare_rows(vocabulary, 767)
    assert not capsys.readouterr().err
    note_spare_rows(vocabulary, 32128)
    told = capsys.readouterr().err
    assert "32,128 rows for a vocabulary of 259 pieces" in told
    assert "VOCAB_SIZE = 384" in told


def test_a_trunk_of_another_vocabulary_is_refused():
    trunk = dataclasses.replace(small.NETWORK, vocab_size=64)
    with pytest.raises(ConfigError, match="trunk has vocab_size 64"):
        FeedbackModel(
            network=small.NETWORK, objective=DROV(), value=ValueConfig(trunk=trunk)
        )


def test_what_is_no_objective_is_refused_by_name():
    with pytest.raises(ConfigError, match="'DROV', which is no objective.*include"):
        FeedbackModel(network=small.NETWORK, objective="DROV")
