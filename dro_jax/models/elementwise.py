"""The elementwise parts of a layer, whose backward passes keep little.

What JAX differentiates keeps each intermediate result that a derivative reads, and a scan
over layers writes them all to memory, where a fused kernel would compute them anew.
"""

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

LAYER_NORM_EPSILON = 1e-6


def activation_function(name: str) -> Callable[[jax.Array], jax.Array]:
    """Returns the flax.linen function called ``name``; ``linear`` is the identity."""
    return (lambda x: x) if name == "linear" else getattr(nn, name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def normalized(inputs: jax.Array, scale: jax.Array, dtype: DTypeLike) -> jax.Array:
    """``x / sqrt(mean(x²) + ε) · scale``, computed in float32 and rounded once.

    The backward pass keeps the input as it is and one number a position. Of what JAX
    differentiates, a scan over layers would keep two more arrays of the input's size, in
    float32.

    Args:
      inputs: ``[..., D]``.
      scale: float32 ``[D]``.
      dtype: of the result.
    """
    return _normalized_forward(inputs, scale, dtype)[0]


def _normalized_forward(inputs, scale, dtype):
    x = inputs.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    factor = jax.lax.rsqrt(mean_square + LAYER_NORM_EPSILON)
    outputs = x * factor * _as_last_axis(scale, x)
    return outputs.astype(dtype), (inputs, factor, scale)


def _normalized_backward(dtype, kept, cotangent):
    inputs, factor, scale = kept
    unscaled = inputs.astype(jnp.float32) * factor
    cotangent = cotangent.astype(jnp.float32)
    on_unscaled = cotangent * _as_last_axis(scale, cotangent)
    along = jnp.mean(on_unscaled * unscaled, axis=-1, keepdims=True)
    on_inputs = factor * (on_unscaled - unscaled * along)
    on_scale = jnp.sum(cotangent * unscaled, axis=range(cotangent.ndim - 1))
    return on_inputs.astype(inputs.dtype), on_scale


normalized.defvjp(_normalized_forward, _normalized_backward)


def _as_last_axis(vector, like):
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def activated(activations: tuple[str, ...], branches: list[jax.Array]) -> jax.Array:
    """The product of activated branches.

    The backward pass keeps the branches alone, and computes anew what an activation
    takes on the way, which for a GELU are several arrays of a branch's size.

    Args:
      activations: a name for each branch.
      branches: arrays of one shape.
    """
    functions = map(activation_function, activations)
    return functools.reduce(
        operator.mul, (f(branch) for f, branch in zip(functions, branches, strict=True))
    )


def _activated_forward(activations, branches):
    return activated(activations, branches), branches


def _activated_backward(activations, branches, cotangent):
    again = functools.partial(activated.__wrapped__, activations)
    return jax.vjp(again, branches)[1](cotangent)


activated.defvjp(_activated_forward, _activated_backward)
