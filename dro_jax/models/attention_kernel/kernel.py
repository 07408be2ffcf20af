"""Attention with T5's bias and packing's masks, as one differentiable function.

Published kernels do not serve: JAX's flash attention writes the gradient of a bias whole,
``[B, H, Q, K]``; its splash attention, and tokamax's on TPU, take no bias. They want heads
before positions: a copy of what projections write, in which heads of 64 fill half of the
lanes. So cross-attention, which has no bias, is computed here as well.
"""

import functools

import jax
import jax.numpy as jnp

from dro_jax.models.attention_kernel import segments
from dro_jax.models.attention_kernel.backward import backward
from dro_jax.models.attention_kernel.forward import forward
from dro_jax.models.attention_kernel.layout import (
    Layout,
    dividing_block,
    padded_length,
)
from dro_jax.models.attention_residuals import named


def kernel_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    diagonals: jax.Array | None,
    query_segment_ids: jax.Array,
    key_segment_ids: jax.Array,
    *,
    causal: bool,
    interpret: bool = False,
    query_block: int = 256,
    key_block: int = 256,
) -> jax.Array:
    """Attends by a Pallas kernel for TPU, never writing ``[B, H, Q, K]``.

    On a mesh it belongs in `jax.shard_map` over rows and heads, with
    ``check_vma=False``: types of a kernel's results say nothing of the mesh.

    Args:
      query: ``[B, Q, H, D]``, float32 or bfloat16.
      key: ``[B, K, H, D]``.
      value: ``[B, K, H, D]``.
      diagonals: float32 ``[H, Q + K − 1]``.
      query_segment_ids: int32 ``[B, Q]``, none negative, 0 where there is no token.
      key_segment_ids: int32 ``[B, K]``.
      causal: whether query i attends to no key after i.
      interpret: runs the kernel without a TPU, slowly: for tests.
      query_block, key_block: what is computed at once.

    Returns:
      ``[B, Q, H, D]``.
    """
    batch, query_length, num_heads, head_dim = query.shape
    key_length = key.shape[1]
    padded = [
        padded_length(query_length, query_block),
        padded_length(key_length, key_block),
    ]
    layout = Layout(
        batch,
        num_heads,
        head_dim,
        *padded,
        dividing_block(padded[0], query_block),
        dividing_block(padded[1], key_block),
        causal=causal,
        has_diagonals=diagonals is not None,
        interpret=interpret,
    )
    strips = None
    if diagonals is not None:
        strips = _strips(layout, diagonals, query_length, key_length)
    arrays = [
        _joined(query, layout.query_length),
        _joined(key, layout.key_length),
        _joined(value, layout.key_length),
        strips,
        segments.apart(query_segment_ids, layout.query_length, nothing=-1),
        segments.apart(key_segment_ids, layout.key_length, nothing=-2),
    ]
    out = _attention(layout, *arrays)
    return out[:, :query_length].reshape(query.shape)


def _joined(rows, length):
    """Heads side by side, as the projections write them: no copy."""
    rows = rows.reshape(*rows.shape[:2], -1)
    return jnp.pad(rows, ((0, 0), (0, length - rows.shape[1]), (0, 0)))


def _strips(layout, diagonals, query_length, key_length):
    """As `attention_kernel.diagonals` has them."""
    more = (layout.query_length - query_length, layout.key_length - key_length)
    strips = jnp.pad(diagonals, ((0, 0), (more[0], more[1] + 1)))[:, ::-1]
    return strips.reshape(layout.programs, layout.heads, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(layout, query, key, value, strips, query_ids, key_ids):
    return forward(layout, query, key, value, strips, query_ids, key_ids)[0]


def _attention_forward(layout, query, key, value, strips, query_ids, key_ids):
    out, log_sums = named(
        *forward(layout, query, key, value, strips, query_ids, key_ids)
    )
    return out, (query, key, value, strips, query_ids, key_ids, out, log_sums)


def _attention_backward(layout, residuals, given):
    grads = backward(layout, *residuals, given)
    if not layout.has_diagonals:
        grads = [*grads, None]
    return (*grads, None, None)


_attention.defvjp(_attention_forward, _attention_backward)
