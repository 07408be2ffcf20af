"""What T5X calls, called as T5X calls it; t5x itself need not be there."""

import dataclasses

import flax.core
import jax
import numpy as np
import pytest
import small
from flax import traverse_util

from dro_jax.errors import ConfigError
from dro_jax.models.decoding import DecodingConfig, beam_search, temperature_sample
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5x_contract import T5XSettings
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DRO, DROP, DROV, NLL, PPO

OPTIMIZER = object()
OBJECTIVES = {
    "nll": (NLL(), None),
    "dro": (DRO(0.5), ValueConfig(network="shared_head")),
    "dro_v": (DROV(0.5), None),
    "dro_p": (DROP(0.5), None),
}


def model_of(kind, **settings):
    objective, value = OBJECTIVES[kind]
    settings = {"optimizer_def": OPTIMIZER} | settings
    return FeedbackModel(
        network=small.NETWORK,
        objective=objective,
        value=value,
        t5x=T5XSettings(**settings),
    )


def batch_of(count=4, seed=0):
    lengths = ((5, 4), (3, 6), (6, 2), (4, 4))
    rows = [[item] for item in small.examples(seed, lengths[:count])]
    return small.pack(rows, packed=False)


def shapes_of(batch):
    return {name: x.shape for name, x in batch.items()}


def start(model, batch):
    """Variables as T5X makes and holds them: frozen, parameters apart."""
    types = {name: x.dtype for name, x in batch.items()}
    variables = flax.core.freeze(
        model.get_initial_variables(
            rng=jax.random.PRNGKey(0),
            input_shapes=shapes_of(batch),
            input_types=types,
        )
    )
    return variables["params"], variables


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_variable_has_logical_axes(kind):
    model = model_of(kind)
    shapes = jax.eval_shape(
        lambda key: model.get_initial_variables(key, shapes_of(batch_of())),
        jax.random.PRNGKey(0),
    )
    collections = {name for name in shapes if not name.endswith("_axes")}
    assert collections == {"params"} | ({"reference"} if kind != "nll" else set())
    for collection in collections:
        leaves = traverse_util.flatten_dict(shapes[collection], sep="/")
        axes = traverse_util.flatten_dict(shapes[f"{collection}_axes"], sep="/")
        assert {f"{name}_axes" for name in leaves} == set(axes)
        for name, leaf in leaves.items():
            assert len(axes[f"{name}_axes"].names) == len(leaf.shape)


def test_the_reference_is_the_first_policy():
    _, variables = start(model_of("dro_v"), batch_of())
    assert "value" in variables["params"] and "value" not in variables["reference"]
    policy = {n: x for n, x in variables["params"].items() if n != "value"}
    for a, b in zip(
        small.leaves(policy), small.leaves(variables["reference"]), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_cached_logprobs_and_inference_need_no_reference():
    shapes = shapes_of(batch_of())
    cached = shapes | {"reference_logprobs": shapes["rewards"]}
    for model, given in (
        (model_of("dro_v"), cached),
        (model_of("dro_v", optimizer_def=None), shapes),
    ):
        variables = model.get_initial_variables(jax.random.PRNGKey(0), given)
        assert set(variables) == {"params", "params_axes"}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_loss_is_the_models_own(kind):
    batch = batch_of()
    model = model_of(kind, batch_size=4)
    params, variables = start(model, batch)
    reference = variables.get("reference")
    mutables = None
    if reference is not None:
        reference = jax.tree.map(lambda x: 0.9 * x, reference)
        mutables = flax.core.freeze({"reference": reference})
    arguments = (params, batch, jax.random.PRNGKey(1))
    wanted, wanted_metrics = model.loss(params, batch, reference_params=reference)
    if mutables is None:
        loss, metrics = model.loss_fn(*arguments)
        eval_loss, eval_metrics = model.eval_fn(params, batch)
    else:
        loss, (metrics, kept) = model.loss_fn(*arguments, mutables)
        assert kept is mutables
        eval_loss, eval_metrics = model.eval_fn(params, batch, mutables)
    np.testing.assert_allclose([loss, eval_loss], [wanted, wanted], rtol=1e-6)
    for got in (metrics, eval_metrics):
        assert got.keys() == wanted_metrics.keys()
        for name, metric in wanted_metrics.items():
            np.testing.assert_allclose(
                got[name].compute_value().value, metric.compute(), rtol=1e-6
            )


@pytest.mark.parametrize("kind", ["nll", "dro_v"])
def test_microbatches_add_up_to_the_batch(kind):
    batch = batch_of()
    batch["reference_logprobs"] = -3.0 * np.ones_like(batch["rewards"])
    halves = [{n: x[i : i + 2] for n, x in batch.items()} for i in (0, 2)]
    model = model_of(kind, batch_size=4)
    params, _ = start(model, batch)
    gradient = jax.jit(jax.value_and_grad(model.loss_fn, has_aux=True))
    (whole, metrics), whole_gradient = gradient(params, batch, None)
    parts = [gradient(params, half, None) for half in halves]
    np.testing.assert_allclose(sum(p[0][0] for p in parts), whole, rtol=1e-5)
    added = jax.tree.map(lambda a, b: a + b, parts[0][1], parts[1][1])
    for a, b in zip(small.leaves(added), small.leaves(whole_gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name, metric in metrics.items():
        merged = parts[0][0][1][name].merge(parts[1][0][1][name])
        np.testing.assert_allclose(
            merged.compute(), metric.compute(), rtol=1e-4, atol=1e-5
        )


def test_metrics_are_rebuilt_from_zeros():
    # As T5X begins its sums over microbatches: each field of each metric by itself.
    batch = batch_of()
    model = model_of("nll")
    params, _ = start(model, batch)
    metrics = model.loss_fn(params, batch, None)[1]
    for metric in metrics.values():
        fields = {f.name: getattr(metric, f.name) for f in dataclasses.fields(metric)}
        zeros = {n: 0 * x if hasattr(x, "shape") else x for n, x in fields.items()}
        rebuilt = type(metric)(**zeros).merge(metric)
        np.testing.assert_array_equal(rebuilt.compute(), metric.compute())


def test_scores_and_predictions():
    batch = batch_of()
    model = model_of("dro_v", optimizer_def=None)
    params, _ = start(model, batch)
    np.testing.assert_allclose(
        model.score_batch(params, batch), model.logprobs(params, batch)[:, 0]
    )
    greedy = temperature_sample(
        model.network,
        {n: x for n, x in params.items() if n != "value"},
        batch["encoder_input_tokens"],
        jax.random.key(0),
        max_decode_length=batch["decoder_input_tokens"].shape[1],
        temperature=0.0,
    )
    tokens, aux = model.predict_batch_with_aux(params, batch, jax.random.PRNGKey(3))
    np.testing.assert_array_equal(tokens, greedy.tokens[:, 0])
    np.testing.assert_array_equal(aux["scores"], greedy.logprobs[:, 0])
    np.testing.assert_array_equal(model.predict_batch(params, batch), tokens)


def test_predictions_by_beam_search():
    batch = batch_of()
    config = DecodingConfig(max_decode_length=6, num_samples=2, beams=3)
    model = model_of("nll", decoding=config)
    params, _ = start(model, batch)
    tokens, aux = model.predict_batch_with_aux(params, batch)
    wanted = beam_search(
        model.network,
        params,
        batch["encoder_input_tokens"],
        max_decode_length=6,
        num_beams=3,
    )
    np.testing.assert_array_equal(tokens, wanted.tokens[:, :2])
    assert aux["scores"].shape == (4, 2)


def test_training_without_an_optimiser_is_refused():
    with pytest.raises(ConfigError, match="optimizer_def is not set"):
        _ = model_of("nll", optimizer_def=None).optimizer_def
    assert model_of("nll").optimizer_def is OPTIMIZER


def test_an_objective_of_samples_is_not_trained_by_t5x():
    model = FeedbackModel(
        network=small.NETWORK, objective=PPO(), t5x=T5XSettings(optimizer_def=object())
    )
    with pytest.raises(ConfigError, match="PPO is trained on what the policy"):
        model.get_initial_variables(jax.random.key(0), {})


def test_the_converter_is_that_of_feedback_tasks():
    converter = model_of("nll").FEATURE_CONVERTER_CLS(
        pack=False, use_custom_packing_ops=False
    )
    assert "rewards" in converter.MODEL_FEATURES
