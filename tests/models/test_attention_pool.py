"""The attention pool: its formula, its mask, the bounds of its value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.errors import ConfigError
from dro_jax.models.attention_pool import AttentionPool, PromptValue
from dro_jax.models.shared_prompts import prompt_mask

WIDTH, HEADS = 16, 4
VALUE = PromptValue(-1.0, 3.0, initial_value=0.5, num_heads=HEADS)


def states_and_mask(seed=0, length=9):
    """Two rows: prompts of 2, 3 and no tokens; one of 4."""
    batch = {
        "encoder_input_tokens": jnp.array([[5] * 5 + [0] * 4, [7] * 4 + [0] * 5]),
        "encoder_segment_ids": jnp.array(
            [[1, 1, 2, 2, 2, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0]]
        ),
        "trajectory_weights": jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
    }
    states = jax.random.normal(jax.random.key(seed), (2, length, WIDTH))
    return states, prompt_mask(batch)


def params_of(module, seed=1):
    """Random parameters, with a head that is not 0."""
    states, mask = states_and_mask()
    params = module.init(jax.random.key(seed), states, mask)["params"]
    if "kernel" in params:
        params["kernel"] = jax.random.normal(jax.random.key(2), (WIDTH,))
    return params


def values_of(params, states, mask, **options):
    return VALUE.apply({"params": params}, states, mask, **options)


def slow_pool(params, states):
    """Multi-head attention over the states of one prompt, ``[L, D]``, head by head."""
    total = np.zeros(WIDTH)
    for head in range(HEADS):
        keys = states @ params["key"][:, head]
        logits = keys @ params["query"][head] / np.sqrt(WIDTH // HEADS)
        weights = np.exp(logits) / np.exp(logits).sum()
        pooled = weights @ (states @ params["value"][:, head])
        total += pooled @ params["out"][head]
    return total


def test_the_mask_is_the_segment_without_padding():
    _, mask = states_and_mask()
    places = [[np.flatnonzero(prompt).tolist() for prompt in row] for row in mask]
    assert places == [[[0, 1], [2, 3, 4], []], [[0, 1, 2, 3], [], []]]
    unpacked = prompt_mask({"encoder_input_tokens": jnp.array([[4, 6, 0]])})
    assert unpacked.tolist() == [[[True, True, False]]]


def test_equals_attention_written_out():
    pool = AttentionPool(HEADS)
    params = params_of(pool)
    states, mask = states_and_mask()
    actual = pool.apply({"params": params}, states, mask)
    host = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    for row, slot in ((0, 0), (0, 1), (1, 0)):
        own = np.asarray(states[row], np.float64)[np.asarray(mask[row, slot])]
        np.testing.assert_allclose(
            actual[row, slot], slow_pool(host, own), rtol=1e-5, atol=1e-5
        )
    assert np.isfinite(actual).all()


def test_padding_and_neighbours_change_nothing():
    params = params_of(VALUE)
    states, mask = states_and_mask()
    other, _ = states_and_mask(seed=5)
    wanted = values_of(params, states, mask)
    for row, slot in ((0, 0), (0, 1), (1, 0)):
        own = mask[row, slot][:, None]
        changed = states.at[row].set(jnp.where(own, states[row], 100 * other[row]))
        actual = values_of(params, changed, mask)
        np.testing.assert_allclose(actual[row, slot], wanted[row, slot], atol=1e-5)
        gradient = jax.grad(lambda x, at: values_of(params, x, mask)[at])(
            states, (row, slot)
        )
        np.testing.assert_array_equal(gradient[row][~mask[row, slot]], 0)
        assert np.all(np.abs(gradient[row][mask[row, slot]]).max(-1) > 0)


def test_values_keep_to_their_bounds():
    states, mask = states_and_mask()
    params = params_of(VALUE)
    params["kernel"] *= 1e4
    values = np.asarray(values_of(params, states, mask))
    assert values.min() >= -1.0 and values.max() <= 3.0
    assert values.min() < -0.9 and values.max() > 2.9


@pytest.mark.parametrize(
    ("initial", "first"), [(0.5, 0.5), (None, 1.0), (-7.0, -0.996), (3.0, 2.996)]
)
def test_a_value_begins_where_it_is_told_inside_its_bounds(initial, first):
    module = PromptValue(-1.0, 3.0, initial, num_heads=HEADS)
    states, mask = states_and_mask()
    values, _ = module.init_with_output(jax.random.key(0), states, mask)
    np.testing.assert_allclose(values, np.full((2, 3), first), rtol=1e-5)


def test_dropout_is_off_unless_asked_for():
    params = params_of(VALUE)
    states, mask = states_and_mask()
    plain = values_of(params, states, mask)
    np.testing.assert_array_equal(plain, values_of(params, states, mask))
    rngs = {"dropout": jax.random.key(4)}
    noisy = values_of(params, states, mask, enable_dropout=True, rngs=rngs)
    assert np.abs(noisy - plain).max() > 1e-3


def test_states_in_bfloat16_are_pooled_in_float32():
    params = params_of(VALUE)
    states, mask = states_and_mask()
    rounded = states.astype(jnp.bfloat16)
    values = values_of(params, rounded, mask)
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(
        values, values_of(params, rounded.astype(jnp.float32), mask)
    )


def test_heads_that_do_not_divide_the_width_are_refused():
    states, mask = states_and_mask()
    with pytest.raises(ConfigError, match=r"5 heads .* 16 dimensions .*num_heads"):
        AttentionPool(5).init(jax.random.key(0), states, mask)
