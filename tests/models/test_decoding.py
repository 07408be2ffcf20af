"""Sampling: golden decodes, parity with scoring, filters, frequencies."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jax.sharding import AxisType

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from responses import TINY, TINY_PROMPTS, check_layout, score

from dro_jax.errors import ConfigError
from dro_jax.models import incremental
from dro_jax.models.decoding import (
    DecodingConfig,
    sample_token,
    temperature_sample,
)
from dro_jax.models.incremental import PAD_ID, Steps, likeliest
from dro_jax.models.t5 import T5

STEPS = 16


@pytest.mark.parametrize("layout", [{}, {"scan_layers": True, "remat_policy": "full"}])
def test_greedy_is_t5x_greedy(golden, layout):
    network, params = golden.build(**layout)
    decoded = temperature_sample(
        network,
        params,
        golden.io["encoder_input_tokens"],
        jax.random.key(0),
        max_decode_length=STEPS,
        temperature=0.0,
    )
    np.testing.assert_array_equal(decoded.tokens, golden.io["greedy_decodes"])
    check_layout(decoded)


@pytest.mark.parametrize("layout", [{}, {"scan_layers": True}])
def test_reported_logprobs_are_what_scoring_computes(golden_1_1, layout):
    network, params = golden_1_1.build(**layout)
    prompts = golden_1_1.io["encoder_input_tokens"]
    decoded = temperature_sample(
        network,
        params | {"value": {"kernel": np.ones(3)}},
        prompts,
        jax.random.key(0),
        max_decode_length=STEPS,
        num_samples=6,
        temperature=0.8,
        top_k=200,
        top_p=0.9,
    )
    assert decoded.tokens.shape == (3, 6, STEPS)
    check_layout(decoded)
    assert (decoded.lengths < STEPS).any()
    expected = score(network, params, prompts, decoded)
    np.testing.assert_allclose(decoded.logprobs, expected, atol=1e-4)
    np.testing.assert_array_equal(decoded.scores, decoded.logprobs)


def test_prompts_of_many_lengths_are_encoded_a_few_at_a_time(tiny):
    prompts = np.tile(np.arange(1, 8), (8, 10))[:, :64].astype(np.int32)
    for row, length in enumerate((64, 9, 3, 40, 16, 5, 0, 1)):
        prompts[row, length:] = 0
    decoded = sample_tiny(tiny, prompts=prompts, temperature=0.0, num_samples=1)
    np.testing.assert_allclose(
        decoded.logprobs, score(*tiny, prompts, decoded), atol=1e-4
    )
    alone = [
        sample_tiny(tiny, prompts=row[None], temperature=0.0, num_samples=1).tokens[0]
        for row in prompts
    ]
    np.testing.assert_array_equal(decoded.tokens, alone)


def test_scanned_layers_are_started_a_few_rows_at_a_time(golden_1_1, monkeypatch):
    network, params = golden_1_1.build(scan_layers=True)
    prompts = np.random.default_rng(0).integers(2, 8, (8, 48)).astype(np.int32)
    for row, length in enumerate((48, 41, 30, 36, 24, 3, 0, 1)):
        prompts[row, length:] = 0
    steps = Steps(network, params, rows_per_prompt=2, max_decode_length=4)
    found = jax.jit(steps.start)(prompts)
    monkeypatch.setattr(incremental, "_LEAST_TO_CUT", 49)
    expected = jax.jit(lambda tokens: steps.start(tokens))(prompts)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, expected)
    path = ("decoder", "decoder", "encoder_decoder_attention", "cached_value")
    values, real = flatten_dict(found)[path], (prompts > 0)[None, :, None, :, None]
    np.testing.assert_allclose(
        np.where(real, values, 0),
        np.where(real, flatten_dict(expected)[path], 0),
        atol=1e-4,
    )


def test_the_likeliest_token_is_the_first_of_the_largest_but_padding():
    logits = np.random.default_rng(0).integers(0, 4, (16, 300)).astype(np.float32)
    logits[:8, PAD_ID] = 9
    logits[4:12, 1:129] -= 9
    expected = 1 + np.argmax(logits[:, 1:], axis=1)
    assert len(set(expected // 128)) > 1
    np.testing.assert_array_equal(likeliest(jnp.asarray(logits)), expected)


@pytest.mark.parametrize(("platform", "by_few"), [("cpu", True), ("tpu", False)])
def test_only_a_cpu_encodes_a_few_at_a_time(tiny, platform, by_few):
    """The mesh's devices decide: `plan --decode` compiles for a TPU on a CPU."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,)).abstract_mesh
    device = type(mesh.abstract_device)(platform, None, platform)
    network, params = tiny
    steps = Steps(network, params, rows_per_prompt=1, max_decode_length=4)
    with jax.sharding.use_abstract_mesh(mesh.update(abstract_device=device)):
        traced = jax.make_jaxpr(steps.start)(np.ones((8, 64), np.int32))
    assert ("cond[" in str(traced)) == by_few


def test_bfloat16_decodes(golden_1_1):
    network, params = golden_1_1.build(dtype="bfloat16")
    prompts = golden_1_1.io["encoder_input_tokens"]
    decoded = temperature_sample(
        network, params, prompts, jax.random.key(0), max_decode_length=8
    )
    expected = score(network, params, prompts, decoded)
    assert decoded.logprobs.dtype == jnp.float32
    np.testing.assert_allclose(decoded.logprobs, expected, atol=0.2)


def sample_tiny(tiny, seed=0, prompts=TINY_PROMPTS, **options):
    options = {"max_decode_length": 6, "num_samples": 4} | options
    return temperature_sample(*tiny, prompts, jax.random.key(seed), **options)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_seed_decides(tiny):
    assert_equal(sample_tiny(tiny, seed=5), sample_tiny(tiny, seed=5))
    tokens = sample_tiny(tiny, seed=5).tokens
    assert (tokens != sample_tiny(tiny, seed=6).tokens).any()
    assert (tokens[:, 0] != tokens[:, 1]).any()


def test_legacy_keys_are_the_same_keys(tiny):
    found = temperature_sample(
        *tiny,
        TINY_PROMPTS,
        jax.random.PRNGKey(5),
        max_decode_length=6,
        num_samples=4,
    )
    assert_equal(found, sample_tiny(tiny, seed=5))


@pytest.mark.parametrize("filters", [{"top_k": 1}, {"top_p": 1e-6}])
def test_the_narrowest_filters_are_greedy(tiny, filters):
    greedy = sample_tiny(tiny, temperature=0.0)
    found = sample_tiny(tiny, temperature=3.0, **filters)
    np.testing.assert_array_equal(found.tokens, greedy.tokens)
    np.testing.assert_allclose(found.logprobs, greedy.logprobs, atol=1e-5)


@pytest.mark.parametrize("filters", [{"top_k": 8}, {"top_k": 100}, {"top_p": 1.0}])
def test_the_widest_filters_change_no_probability(tiny, filters):
    keys = jax.random.split(jax.random.key(0), 4000)
    logits = jnp.tile(jnp.array([[0.5, -1.0, 2.0, 0.0]]), (4000, 1))
    found = sample_token(keys, logits, **filters)
    frequencies = np.bincount(found, minlength=4) / 4000
    np.testing.assert_allclose(frequencies, jax.nn.softmax(logits[0]), atol=0.03)


def test_other_rows_and_samples_do_not_matter(tiny):
    whole = sample_tiny(tiny)
    padded = np.pad(TINY_PROMPTS[:2], ((0, 3), (0, 0)))
    part = sample_tiny(tiny, prompts=padded, num_samples=2)
    np.testing.assert_array_equal(part.tokens[:2], whole.tokens[:2, :2])
    assert (part.tokens[2:] == 0).all()
    assert (part.lengths[2:] == 0).all()
    assert (part.logprobs[2:] == 0).all()


def test_a_key_for_each_prompt(tiny):
    keys = jax.random.split(jax.random.key(5), 3)
    sample = lambda rng, prompts=TINY_PROMPTS: temperature_sample(
        *tiny, prompts, rng, max_decode_length=6, num_samples=4
    )
    found = sample(keys)
    turned = sample(keys[::-1], TINY_PROMPTS[::-1])
    np.testing.assert_array_equal(turned.tokens[::-1], found.tokens)
    assert_equal(sample(jax.random.key_data(keys)), found)
    with pytest.raises(ConfigError, match="2 random keys for 3 prompts"):
        sample(keys[:2])


def test_filters_draw_what_no_filter_draws_where_they_can():
    keys = jax.random.split(jax.random.key(0), 500)
    logits = jnp.broadcast_to(jnp.linspace(-1.0, 2.0, 8), (500, 8))
    free, filtered = sample_token(keys, logits), sample_token(keys, logits, top_k=4)
    kept = np.asarray(free) >= 4
    assert 300 < kept.sum() < 500
    np.testing.assert_array_equal(filtered[kept], free[kept])
    # Two tokens that change ranks by rounding are drawn as before.
    nudged = logits.at[:, 6].set(logits[:, 7] * (1 + 1e-6))
    near = logits.at[:, 6].set(logits[:, 7] * (1 - 1e-6))
    np.testing.assert_array_equal(
        sample_token(keys, nudged, top_k=4), sample_token(keys, near, top_k=4)
    )


def test_frequencies_over_several_parts_of_a_vocabulary():
    logits = jnp.full((20_000, 300), -jnp.inf)
    probs = {3: 0.1, 127: 0.2, 128: 0.05, 200: 0.25, 299: 0.4}
    logits = logits.at[:, list(probs)].set(jnp.log(jnp.array([*probs.values()])))
    found = sample_token(jax.random.split(jax.random.key(0), 20_000), logits)
    frequencies = np.bincount(found, minlength=300) / 20_000
    assert frequencies[list(probs)].sum() == 1
    np.testing.assert_allclose(frequencies[list(probs)], [*probs.values()], atol=0.015)


def exact_first_token(tiny, temperature=1.0, allowed=None):
    """The distribution of the first token, its candidates renormalised."""
    network, params = tiny
    ones = np.ones((3, 1), np.int32)
    logits = network.apply({"params": params}, TINY_PROMPTS, 0 * ones, ones)[:, 0]
    probs = np.array(jax.nn.softmax(logits / temperature))
    probs[:, 0] = 0.0
    if allowed is not None:
        for row in probs:
            row[np.argsort(-row)[allowed(np.sort(row / row.sum())[::-1]) :]] = 0.0
    return probs / probs.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, None),
        ({"temperature": 0.5}, None),
        ({"top_k": 3}, lambda probs: 3),
        ({"top_p": 0.6}, lambda probs: 1 + int((np.cumsum(probs) < 0.6).sum())),
        (
            {"top_k": 4, "top_p": 0.5, "temperature": 2.0},
            lambda probs: 1 + int((np.cumsum(probs / probs[:4].sum()) < 0.5).sum()),
        ),
    ],
)
def test_frequencies(tiny, options, allowed):
    count = 4000
    decoded = sample_tiny(tiny, max_decode_length=1, num_samples=count, **options)
    expected = exact_first_token(tiny, options.get("temperature", 1.0), allowed)
    for tokens, probs in zip(decoded.tokens[:, :, 0], expected, strict=True):
        frequencies = np.bincount(tokens, minlength=8) / count
        assert (frequencies[probs == 0] == 0).all()
        # Four standard deviations of the least favourable proportion.
        np.testing.assert_allclose(frequencies, probs, atol=4 * 0.5 / count**0.5)


def uniform(tiny):
    """The policy whose every token is equally likely: its last norm is zero."""
    network, params = tiny
    norm = {"scale": np.zeros(TINY.emb_dim, np.float32)}
    return network, params | {"decoder": params["decoder"] | {"decoder_norm": norm}}


def test_padding_is_never_chosen_but_keeps_its_probability(tiny):
    decoded = sample_tiny(uniform(tiny), num_samples=50)
    check_layout(decoded)
    np.testing.assert_allclose(
        decoded.logprobs, -np.log(8.0) * np.asarray(decoded.lengths), rtol=1e-5
    )
    greedy = sample_tiny(uniform(tiny), temperature=0.0, num_samples=1)
    np.testing.assert_array_equal(greedy.tokens[:, 0, 0], 1)


def test_any_token_can_end_a_response(tiny):
    decoded = sample_tiny(tiny, num_samples=20, eos_id=5)
    check_layout(decoded, eos_id=5)
    assert (decoded.tokens == 5).any()


def count_calls(method_name, run, at_run_time=False):
    calls = []

    def count(method, args, kwargs, context):
        is_network = isinstance(context.module, T5)
        if is_network and context.method_name == method_name:
            if at_run_time:
                jax.debug.callback(lambda: calls.append(1))
            else:
                calls.append(1)
        return method(*args, **kwargs)

    with nn.intercept_methods(count):
        jax.block_until_ready(run())
    jax.effects_barrier()
    return len(calls)


def test_the_loop_ends_with_the_last_response(tiny):
    # A length that no other test compiles, so that the counter is traced in.
    responses = []

    def run():
        responses.append(sample_tiny(uniform(tiny), max_decode_length=61))
        return responses

    steps = count_calls("logits", run, at_run_time=True)
    assert steps == responses[0].lengths.max() < 61


def test_repeated_calls_do_not_compile_again(tiny):
    run = lambda **options: sample_tiny(tiny, max_decode_length=5, **options)
    assert count_calls("encode", lambda: run(top_p=0.3)) == 1
    again = lambda: run(seed=9, temperature=0.7, top_p=0.5)
    assert count_calls("encode", again) == 0


def test_samples_share_the_keys_of_their_prompt(tiny):
    network, params = tiny
    steps = Steps(network, params, rows_per_prompt=4, max_decode_length=6)
    layer = steps.start(TINY_PROMPTS)["decoder"]["layers_0"]
    shape = lambda name: layer[name]["cached_key"].shape
    assert shape("encoder_decoder_attention") == (3, 2, 4, 4)
    assert shape("self_attention") == (12, 2, 4, 6)


MANY = np.random.default_rng(0).integers(2, 8, (11, 4)).astype(np.int32)
MANY[3, 2:] = MANY[7, 1:] = 0


@pytest.mark.parametrize("options", [{}, {"top_k": 4, "num_samples": 1}])
def test_prompts_in_turn_are_answered_as_all_at_once(tiny, options):
    """Few rows, which the next prompts take; padding beside the prompts."""
    prompts = np.pad(MANY, ((0, 5), (0, 0)))
    prompts[5] = 0
    expected = sample_tiny(tiny, prompts=prompts, **options)
    found = sample_tiny(tiny, prompts=prompts, prompts_at_once=3, **options)
    check_layout(jax.tree.map(lambda x: x[6:11], found))
    assert len(set(np.asarray(expected.lengths[:11]).ravel())) > 2
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-5)


def test_rows_that_ended_are_taken_by_the_next_prompts(tiny):
    lengths = sample_tiny(tiny, prompts=MANY, num_samples=1).lengths[:, 0]
    run = lambda: sample_tiny(
        tiny, prompts=MANY, num_samples=1, prompts_at_once=2, max_decode_length=6
    )
    # A length that no other test compiles, so that the counter is traced in.
    jax.clear_caches()
    steps = count_calls("logits", run, at_run_time=True)
    waiting = sum(np.maximum(lengths[:-1:2], lengths[1::2])) + lengths[-1]
    assert (sum(lengths) + 1) // 2 <= steps < waiting


def test_a_narrow_cache_rounds_keys_and_values_alone(golden_1_1):
    network, params = golden_1_1.build()
    prompts = golden_1_1.io["encoder_input_tokens"]
    steps = Steps(
        network, params, rows_per_prompt=1, max_decode_length=8, cache_dtype="bfloat16"
    )
    cache = jax.eval_shape(steps.start, prompts)
    types = {str(x.dtype) for x in jax.tree.leaves(cache) if x.ndim > 1}
    assert types == {"bfloat16"}
    decoded = temperature_sample(
        network,
        params,
        prompts,
        jax.random.key(0),
        max_decode_length=8,
        cache_dtype="bfloat16",
    )
    expected = score(network, params, prompts, decoded)
    assert decoded.logprobs.dtype == jnp.float32
    # Eight bits of keys and values: hundredths of a nat over the response.
    np.testing.assert_allclose(decoded.logprobs, expected, atol=0.05)
    assert (np.asarray(decoded.logprobs) != np.asarray(expected)).any()


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 1.5},
        {"num_samples": 0},
        {"max_decode_length": 0},
        {"prompts_at_once": 0},
    ],
)
def test_bad_options(tiny, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        sample_tiny(tiny, **option)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_decode_length": 0}, "max_decode_length is 0; give at least 1"),
        ({"max_decode_length": 10**11}, "give at most 1,048,576"),
        ({"num_samples": 0}, "num_samples is 0; give at least 1"),
        # Of infinity, every token would be padding; of next to 0, the first one.
        ({"temperature": float("inf")}, "temperature is inf; give a finite number"),
        ({"temperature": 1e-40}, "temperature is 1e-40; 0 takes the likeliest token"),
        ({"temperature": float("nan")}, "temperature is nan; give"),
        ({"top_k": -1}, "top_k is -1; give at least 0"),
        ({"top_p": 1.5}, "top_p is 1.5; it is a probability"),
        ({"beams": -1}, "beams is -1; give at least 0"),
        ({"beams": 2, "alpha": float("inf")}, "alpha is inf; give a finite number"),
        # JAX would take its lowest 32 bits.
        ({"seed": 5_000_000_000}, "seed is 5000000000; give a number of 32 bits"),
        ({"beams": 2, "top_k": 3}, "beam search does not sample"),
        ({"beams": 2, "num_samples": 3}, "raise beams"),
    ],
)
def test_a_configuration_is_refused_before_it_is_used(settings, message):
    with pytest.raises(ConfigError) as raised:
        DecodingConfig(**settings)
    assert message in str(raised.value)


def test_what_was_sampled_before_there_were_these_settings_is_read():
    """Samples are kept under facts, which hold those of today only where they matter."""
    facts = DecodingConfig(max_decode_length=4, batches_in_turn=1).facts()
    assert ", ".join(f"{name} {value}" for name, value in facts.items()) == (
        "max_decode_length 4, num_samples 1, temperature 1.0, top_k 0, top_p 0.0, "
        "beams 0, alpha 0.6, seed 0"
    )
    narrow = DecodingConfig(max_decode_length=4, cache_dtype="bfloat16").facts()
    assert narrow == facts | {"cache_dtype": "bfloat16"}


def test_the_least_temperature_takes_the_likeliest_token():
    logits = jnp.asarray([[-1e4, 1e4, 9e3]], jnp.float32)
    keys = jax.random.split(jax.random.key(0), 1)
    assert sample_token(keys, logits, 1e-30).tolist() == [1]
