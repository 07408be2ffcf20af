"""Matrix products of the kernel, accumulated in float32."""

import jax
import jax.numpy as jnp


def plain(left: jax.Array, right: jax.Array) -> jax.Array:
    """``[M, C]`` by ``[C, N]``."""
    return jnp.dot(left, right, preferred_element_type=jnp.float32)


def by_last(left: jax.Array, right: jax.Array) -> jax.Array:
    """``[M, C]`` by ``[N, C]``."""
    return jax.lax.dot_general(
        left, right, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
