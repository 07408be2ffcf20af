"""Whether cuDNN's attention can be trusted with T5's bias: asked where there is a GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_the_gradient_of_a_bias_that_rows_share():
    """At four rows; where it fails, 'auto' does well to take blocks."""
    if jax.default_backend() != "gpu":
        pytest.skip("cuDNN needs an NVIDIA GPU, which this machine has not")
    keys = jax.random.split(jax.random.key(0), 5)
    shape = (4, 256, 8, 64)
    query, key, value, given = (
        jax.random.normal(k, shape, jnp.bfloat16) for k in keys[:4]
    )
    bias = jax.random.normal(keys[4], (1, 8, 256, 256), jnp.bfloat16)

    def gradient(implementation):
        def total(bias):
            out = jax.nn.dot_product_attention(
                query, key, value, bias, scale=1.0, implementation=implementation
            )
            return jnp.sum((out * given).astype(jnp.float32))

        return np.asarray(jax.jit(jax.grad(total))(bias), np.float32)

    expected = gradient("xla")
    np.testing.assert_allclose(
        gradient("cudnn"), expected, atol=0.05 * np.abs(expected).max()
    )
