"""What backward passes compute, against JAX's own derivatives, and what they keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.models import elementwise


def _kept(function, *arguments):
    """Arrays that the backward pass of a function keeps, its arguments left out."""
    _, pullback = jax.vjp(function, *arguments)
    given = {id(leaf) for leaf in jax.tree.leaves(arguments)}
    return [leaf for leaf in jax.tree.leaves(pullback) if id(leaf) not in given]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_norms_gradient_is_that_of_its_formula(dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 3, 8)).astype(dtype)
    scale = 1 + jax.random.normal(keys[1], (8,))
    cotangent = jax.random.normal(keys[2], (2, 3, 8)).astype(dtype)

    def formula(x, scale):
        x = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        return (x * jax.lax.rsqrt(mean_square + 1e-6) * scale[None, None]).astype(dtype)

    ours = lambda x, scale: elementwise.normalized(x, scale, dtype)
    expected, expected_pullback = jax.vjp(formula, x, scale)
    found, pullback = jax.vjp(ours, x, scale)
    np.testing.assert_array_equal(found, expected)
    # To the last bit but one of the type that gradients are rounded to.
    for a, b in zip(pullback(cotangent), expected_pullback(cotangent), strict=True):
        tolerance = 2 * float(jnp.finfo(b.dtype).eps)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=4 * tolerance)
    # One number a position, beside what was given.
    assert [leaf.shape for leaf in _kept(ours, x, scale)] == [(2, 3, 1)]


def test_activations_keep_their_branches_alone():
    keys = jax.random.split(jax.random.key(0), 3)
    branches = [jax.random.normal(key, (3, 8)) for key in keys[:2]]
    cotangent = jax.random.normal(keys[2], (3, 8))

    def formula(a, b):
        return jax.nn.gelu(a) * b

    ours = lambda a, b: elementwise.activated(("gelu", "linear"), [a, b])
    expected, expected_pullback = jax.vjp(formula, *branches)
    found, pullback = jax.vjp(ours, *branches)
    np.testing.assert_array_equal(found, expected)
    for a, b in zip(pullback(cotangent), expected_pullback(cotangent), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert _kept(ours, *branches) == []
    assert _kept(formula, *branches) != []
