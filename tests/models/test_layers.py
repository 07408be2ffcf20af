"""The building blocks, against slow or exact computations of the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.models import layers
from dro_jax.models.attention import Attention
from dro_jax.models.attention_mask import AttentionMask, segments_of


def test_bidirectional_buckets():
    """Hand-derived: 16 a side, 8 exact, then log-spaced from 8 to 128 in 8 steps."""
    buckets = layers.relative_position_buckets(32, 128, True)
    at = lambda distance: buckets[distance + 128]
    assert [at(-d) for d in range(8)] == list(range(8))
    assert [at(d) for d in range(1, 8)] == list(range(17, 24))
    # 8·√2 = 11.3 ends the first logarithmic bucket, 16 the second.
    assert [at(-d) for d in (8, 11, 12, 15, 16, 127, 128)] == [8, 8, 9, 9, 10, 15, 15]
    assert at(128) == 31


def test_causal_buckets():
    buckets = layers.relative_position_buckets(32, 128, False)
    at = lambda distance: buckets[distance + 128]
    assert [at(-d) for d in range(16)] == list(range(16))
    assert at(5) == at(128) == 0
    assert at(-128) == 31


def test_skew_spreads_diagonals():
    diagonals = jnp.arange(2 * 7, dtype=jnp.float32).reshape(2, 7)
    spread = layers.skew(diagonals, 3, 5)
    assert spread.shape == (2, 3, 5)
    for head, i, j in np.ndindex(spread.shape):
        assert spread[head, i, j] == diagonals[head, j - i + 2]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_bias_depends_on_the_distance_alone(bidirectional):
    module = layers.RelativePositionBias(num_heads=3, bidirectional=bidirectional)
    variables = module.init(jax.random.key(0), 1, 1)
    table = np.asarray(variables["params"]["rel_embedding"])
    bias = layers.skew(module.apply(variables, 200, 150), 200, 150)
    buckets = layers.relative_position_buckets(32, 128, bidirectional)
    distance = np.arange(150)[None, :] - np.arange(200)[:, None]
    expected = table[:, buckets[np.clip(distance, -128, 128) + 128]]
    np.testing.assert_array_equal(bias, expected)
    for position in (0, 7, 149, 199):
        one_step = module.apply(variables, 1, 150, jnp.int32(position))
        # The steps up to this one, of which a ring of 150 places holds the last.
        steps = np.arange(max(0, position - 149), position + 1)
        backwards = table[:, buckets[np.clip(steps - position, -128, 128) + 128]]
        np.testing.assert_array_equal(one_step[0, :, 0, steps % 150], backwards.T)


def test_layer_norm():
    x = jax.random.normal(jax.random.key(0), (2, 3, 8))
    scale = jnp.arange(8.0)
    y = layers.LayerNorm().apply({"params": {"scale": scale}}, x)
    x = np.asarray(x, np.float64)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * np.arange(8.0)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_embedding_gradient_counts_each_occurrence():
    module = layers.Embed(5, 2)
    tokens = jnp.array([[1, 3, 3], [0, 3, 1]])
    variables = module.init(jax.random.key(0), tokens)
    table = variables["params"]["embedding"]
    np.testing.assert_array_equal(
        module.apply(variables, tokens), np.asarray(table)[tokens]
    )
    total = lambda table: module.apply({"params": {"embedding": table}}, tokens).sum()
    gradient = jax.grad(total)(table)
    np.testing.assert_array_equal(gradient[:, 0], [1, 2, 0, 3, 0])


def test_masks():
    """Worked by hand: two segments, then padding, whatever its segment."""
    segments = segments_of(
        jnp.array([[True, True, True, False]]), jnp.array([[1, 1, 2, 2]])
    )
    mask = AttentionMask(segments, segments, causal=True).matrix()
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(mask[0, 0], np.array(expected, bool))


def test_attention_against_loops():
    module = Attention(num_heads=2, head_dim=3)
    keys = jax.random.split(jax.random.key(1), 3)
    x = jax.random.normal(keys[0], (2, 4, 5))
    bias = jax.random.normal(keys[1], (1, 2, 4, 4))
    mask = jax.random.bernoulli(keys[2], 0.7, (2, 1, 4, 4)).at[0, 0, 1].set(False)
    variables = module.init(jax.random.key(2), x)
    found = module.apply(variables, x, None, mask, bias)
    kernels = {
        name: np.asarray(value["kernel"]) for name, value in variables["params"].items()
    }
    q, k, v = (
        (np.asarray(x) @ kernels[name]).reshape(2, 4, 2, 3)
        for name in ("query", "key", "value")
    )
    attended = np.zeros((2, 4, 2, 3))
    for b, i, h in np.ndindex(2, 4, 2):
        logits = np.array([q[b, i, h] @ k[b, j, h] for j in range(4)])
        logits = logits + np.asarray(bias)[0, h, i]
        allowed = np.asarray(mask)[b, 0, i]
        # A query with nothing to attend to gets uniform weights.
        weights = np.exp(logits) * allowed if allowed.any() else np.ones(4)
        attended[b, i, h] = (weights / weights.sum()) @ v[b, :, h]
    expected = attended.reshape(2, 4, 6) @ kernels["out"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
