"""Attention by blocks, against matrices of all pairs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.models.attention_blocks import blocks_attention
from dro_jax.models.attention_mask import AttentionMask
from dro_jax.models.layers import skew


def matrices(query, key, value, diagonals, query_ids, key_ids, *, causal):
    """The definition; a query that may see nothing gets 0."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key)
    if diagonals is not None:
        logits += skew(diagonals, query.shape[1], key.shape[1])[None]
    mask = AttentionMask(query_ids, key_ids, causal=causal).matrix()
    weights = jnp.where(mask, jax.nn.softmax(jnp.where(mask, logits, -1e10)), 0.0)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


def inputs(queries, keys, dtype="float32", *, biased=True):
    """Two rows of three segments, at other places in each, then padding."""
    rng = np.random.default_rng(0)
    shapes = [(2, queries, 2, 8), (2, keys, 2, 8), (2, keys, 2, 8)]
    arrays = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    ids = []
    for length in (queries, keys):
        cuts = np.array([[0.2, 0.5, 0.9], [0.4, 0.7, 0.8]]) * length
        places = np.arange(length)
        number = (places[None, :, None] >= cuts[:, None]).sum(-1) + 1
        ids.append(jnp.asarray(np.where(number < 4, number, 0), jnp.int32))
    diagonals = rng.normal(size=(2, queries + keys - 1)).astype(np.float32)
    return [*arrays, jnp.asarray(diagonals) if biased else None, *ids]


def with_gradients(function, arrays, *, causal):
    def attended(*differentiable):
        return function(*differentiable, *arrays[4:], causal=causal)

    @jax.jit
    def run():
        out, pullback = jax.vjp(attended, *arrays[:4])
        weights = jnp.cos(jnp.arange(out.size).reshape(out.shape)).astype(out.dtype)
        return out, pullback(weights)

    return jax.tree.leaves(run())


@pytest.mark.parametrize(
    ("queries", "keys", "causal", "biased"),
    [(40, 40, False, True), (21, 50, True, True), (1, 33, False, False)],
    ids=["self", "uneven", "one query"],
)
def test_numbers_and_gradients_are_those_of_matrices(queries, keys, causal, biased):
    arrays = inputs(queries, keys, biased=biased)
    expected = with_gradients(matrices, arrays, causal=causal)
    by_blocks = functools.partial(blocks_attention, block_queries=8, block_keys=16)
    found = with_gradients(by_blocks, arrays, causal=causal)
    assert len(found) == len(expected) == 4 + biased
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    # Nothing to see, nothing to say.
    assert not np.any(found[0][np.asarray(arrays[4]) == 0])


def test_bfloat16_rounds_no_more_than_matrices_do():
    exact = with_gradients(matrices, inputs(40, 40), causal=True)
    arrays = inputs(40, 40, "bfloat16")
    found = with_gradients(blocks_attention, arrays, causal=True)
    assert found[0].dtype == jnp.bfloat16
    for a, b in zip(found, exact, strict=True):
        # Three digits of the largest.
        np.testing.assert_allclose(
            np.asarray(a, np.float32), b, atol=0.02 * np.abs(b).max()
        )


def test_no_matrix_of_all_pairs_is_made():
    arrays = inputs(256, 256)

    def total(query, diagonals):
        given = [query, *arrays[1:3], diagonals, *arrays[4:]]
        return jnp.sum(blocks_attention(*given, causal=False, block_queries=32))

    differentiated = jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))
    text = str(differentiated(arrays[0], arrays[3]))
    assert "f32[2,2,32,128]" in text  # of a block
    assert "256,256" not in text
