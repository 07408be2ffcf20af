"""Attention a block of queries and keys at a time, in plain XLA, for any device.

The softmax over the keys is made up from block to block, and the backward pass computes
the weights of each block anew (https://arxiv.org/abs/2205.14135,
https://arxiv.org/abs/2307.08691). The relative bias is read by diagonals, and its
gradient summed along them, so that nothing of Q · K numbers is ever kept. Blocks in
which no query may see a key, because of their segments or of causality, are left out.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dro_jax.models.attention_residuals import named
from dro_jax.models.layers import skew

BLOCK = 128
# Below all logits, and finite: a difference of two is no NaN.
_LEAST = -1e30


class _Inputs(NamedTuple):
    """Padded to whole blocks; heads before positions."""

    query: jax.Array  # [B, H, Q, D]
    key: jax.Array  # [B, H, K, D]
    value: jax.Array  # [B, H, K, D]
    diagonals: jax.Array | None  # float32 [H, Q + K − 1]
    query_segment_ids: jax.Array  # [B, Q]
    key_segment_ids: jax.Array  # [B, K]


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Sizes of blocks, and whether a query sees no later key."""

    queries: int
    keys: int
    causal: bool


def blocks_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    diagonals: jax.Array | None,
    query_segment_ids: jax.Array,
    key_segment_ids: jax.Array,
    *,
    causal: bool,
    block_queries: int = BLOCK,
    block_keys: int = BLOCK,
) -> jax.Array:
    """Attention of each query to the keys of its own segment, logits unscaled.

    ``out[b, i] = Σ_j softmax_j(query[b, i] · key[b, j] + bias[j − i]) value[b, j]``,
    a head at a time, the softmax in float32. Where a query may see nothing it is 0.

    Args:
      query: ``[B, Q, H, D]``.
      key: ``[B, K, H, D]``.
      value: ``[B, K, H, D]``.
      diagonals: float32 ``[H, Q + K − 1]``, the bias of query i and key j in column
        j − i + Q − 1; None for none.
      query_segment_ids: int32 ``[B, Q]``, 0 where there is no token.
      key_segment_ids: int32 ``[B, K]``.
      causal: whether a query sees no later key.
      block_queries, block_keys: sizes of a block.

    Returns:
      ``[B, Q, H, D]`` in the queries' dtype.
    """
    query_length, key_length = query.shape[1], key.shape[1]
    blocks = _Blocks(
        min(block_queries, query_length), min(block_keys, key_length), causal
    )
    more_queries = -query_length % blocks.queries
    more_keys = -key_length % blocks.keys

    def heads_first(x, more):
        return jnp.pad(x.swapaxes(1, 2), ((0, 0), (0, 0), (0, more), (0, 0)))

    if diagonals is not None:
        diagonals = jnp.pad(diagonals, ((0, 0), (more_queries, more_keys)))
    inputs = _Inputs(
        heads_first(query, more_queries),
        heads_first(key, more_keys),
        heads_first(value, more_keys),
        diagonals,
        jnp.pad(query_segment_ids, ((0, 0), (0, more_queries))),
        jnp.pad(key_segment_ids, ((0, 0), (0, more_keys))),
    )
    out = _attention(blocks, *inputs)
    return out[:, :, :query_length].swapaxes(1, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(blocks: _Blocks, *inputs: jax.Array | None) -> jax.Array:
    return _forward(blocks, _Inputs(*inputs))[0]


def _forward(blocks: _Blocks, inputs: _Inputs):
    """What is attended to, ``[B, H, Q, D]``, and log Σ exp of the logits, ``[B, H, Q]``."""
    rows, heads, length, width = inputs.query.shape

    def of_queries(i):
        def more_keys(carry, j):
            def seen(carry):
                largest, total, attended = carry
                logits, allowed = _logits(blocks, inputs, i, j)
                now = jnp.maximum(largest, jnp.max(logits, axis=-1))
                weights = jnp.where(allowed, jnp.exp(logits - now[..., None]), 0.0)
                scale = jnp.exp(largest - now)
                value = _part(inputs.value, j, blocks.keys)
                product = _product(
                    "bhqk,bhkd->bhqd", weights.astype(value.dtype), value
                )
                return (
                    now,
                    total * scale + jnp.sum(weights, axis=-1),
                    attended * scale[..., None] + product,
                )

            return jax.lax.cond(
                _meet(blocks, inputs, i, j), seen, lambda x: x, carry
            ), None

        start = (
            jnp.full((rows, heads, blocks.queries), _LEAST, jnp.float32),
            jnp.zeros((rows, heads, blocks.queries), jnp.float32),
            jnp.zeros((rows, heads, blocks.queries, width), jnp.float32),
        )
        numbers = jnp.arange(inputs.key.shape[2] // blocks.keys)
        (largest, total, attended), _ = jax.lax.scan(more_keys, start, numbers)
        total = jnp.where(total == 0, 1.0, total)
        out = (attended / total[..., None]).astype(inputs.query.dtype)
        return out, largest + jnp.log(total)

    out, normalizers = jax.lax.map(of_queries, jnp.arange(length // blocks.queries))
    return _joined(out), _joined(normalizers)


def _attention_forward(blocks: _Blocks, *inputs):
    out, normalizers = named(*_forward(blocks, _Inputs(*inputs)))
    return out, (_Inputs(*inputs), out, normalizers)


def _attention_backward(blocks: _Blocks, kept, cotangent):
    inputs, out, normalizers = kept
    # What the softmax's gradient takes off: Σ_j weight · its cotangent.
    mean = jnp.sum(cotangent.astype(jnp.float32) * out.astype(jnp.float32), axis=-1)

    def of_keys(carry, j):
        key, value = (_part(x, j, blocks.keys) for x in (inputs.key, inputs.value))

        def more_queries(carry, i):
            def seen(carry):
                to_query, to_diagonals, to_key, to_value = carry
                logits, allowed = _logits(blocks, inputs, i, j)
                shift = _part(normalizers, i, blocks.queries)[..., None]
                weights = jnp.where(allowed, jnp.exp(logits - shift), 0.0)
                given = _part(cotangent, i, blocks.queries)
                query = _part(inputs.query, i, blocks.queries)
                to_value += _product(
                    "bhqk,bhqd->bhkd", weights.astype(given.dtype), given
                )
                to_weights = _product("bhqd,bhkd->bhqk", given, value)
                taken = _part(mean, i, blocks.queries)[..., None]
                to_logits = weights * (to_weights - taken)
                if to_diagonals is not None:
                    first = _first_diagonal(blocks, inputs, i, j)
                    to_diagonals = _add_diagonals(
                        blocks, to_diagonals, to_logits, first
                    )
                to_logits = to_logits.astype(key.dtype)
                to_query = _add_part(
                    to_query, i, _product("bhqk,bhkd->bhqd", to_logits, key)
                )
                to_key += _product("bhqk,bhqd->bhkd", to_logits, query)
                return to_query, to_diagonals, to_key, to_value

            return jax.lax.cond(
                _meet(blocks, inputs, i, j), seen, lambda x: x, carry
            ), None

        zeros = (jnp.zeros(key.shape, jnp.float32), jnp.zeros(value.shape, jnp.float32))
        numbers = jnp.arange(inputs.query.shape[2] // blocks.queries)
        (*carry, to_key, to_value), _ = jax.lax.scan(
            more_queries, (*carry, *zeros), numbers
        )
        return tuple(carry), (to_key.astype(key.dtype), to_value.astype(value.dtype))

    zeros = jnp.zeros(inputs.query.shape, jnp.float32)
    start = (zeros, jax.tree.map(jnp.zeros_like, inputs.diagonals))
    numbers = jnp.arange(inputs.key.shape[2] // blocks.keys)
    (to_query, to_diagonals), parts = jax.lax.scan(of_keys, start, numbers)
    to_key, to_value = map(_joined, parts)
    return (
        to_query.astype(inputs.query.dtype),
        to_key,
        to_value,
        to_diagonals,
        None,
        None,
    )


_attention.defvjp(_attention_forward, _attention_backward)


def _logits(blocks: _Blocks, inputs: _Inputs, i, j):
    """Of a block, and where a query may see a key: ``[B, H, q, k]``, bool ``[B, 1, q, k]``."""
    query = _part(inputs.query, i, blocks.queries)
    key = _part(inputs.key, j, blocks.keys)
    logits = _product("bhqd,bhkd->bhqk", query, key)
    if inputs.diagonals is not None:
        width = blocks.queries + blocks.keys - 1
        part = jax.lax.dynamic_slice_in_dim(
            inputs.diagonals, _first_diagonal(blocks, inputs, i, j), width, axis=1
        )
        logits += skew(part, blocks.queries, blocks.keys)[None]
    queries = _part(inputs.query_segment_ids, i, blocks.queries, axis=1)[
        :, None, :, None
    ]
    keys = _part(inputs.key_segment_ids, j, blocks.keys, axis=1)[:, None, None, :]
    allowed = (queries == keys) & (queries > 0)
    if blocks.causal:
        places = jnp.arange(blocks.queries)[:, None] + i * blocks.queries
        others = jnp.arange(blocks.keys)[None, :] + j * blocks.keys
        allowed &= (places >= others)[None, None]
    return jnp.where(allowed, logits, _LEAST), allowed


def _meet(blocks: _Blocks, inputs: _Inputs, i, j):
    """Whether a query of block i may see a key of block j, in any row.

    Segments are compared by the least and the largest of each block, which is exact
    where they stand in order, as packing puts them, and else lets a block too many pass.
    """
    queries = _part(inputs.query_segment_ids, i, blocks.queries, axis=1)
    keys = _part(inputs.key_segment_ids, j, blocks.keys, axis=1)
    none = jnp.iinfo(jnp.int32).max

    def bounds(segments):
        return jnp.min(jnp.where(segments > 0, segments, none), 1), jnp.max(segments, 1)

    (least, most), (least_key, most_key) = bounds(queries), bounds(keys)
    meet = jnp.any((least <= most_key) & (least_key <= most))
    if blocks.causal:
        meet &= (i + 1) * blocks.queries > j * blocks.keys
    return meet


def _first_diagonal(blocks: _Blocks, inputs: _Inputs, i, j):
    length = inputs.query.shape[2]
    return j * blocks.keys - (i + 1) * blocks.queries + length


def _add_diagonals(blocks: _Blocks, to_diagonals, to_logits, first):
    """Adds a block's gradients ``[B, H, q, k]``, summed over rows and along diagonals."""
    # As a matrix product: XLA's CPU backend takes longer for the reduction.
    ones = jnp.ones(len(to_logits), to_logits.dtype)
    summed = jnp.einsum(
        "b,bhqk->hqk", ones, to_logits, precision=jax.lax.Precision.HIGHEST
    )
    width = blocks.queries + blocks.keys - 1
    unskew = jax.linear_transpose(
        lambda part: skew(part, blocks.queries, blocks.keys),
        jax.ShapeDtypeStruct((len(summed), width), jnp.float32),
    )
    part = jax.lax.dynamic_slice_in_dim(to_diagonals, first, width, axis=1)
    return jax.lax.dynamic_update_slice_in_dim(
        to_diagonals, part + unskew(summed)[0], first, axis=1
    )


def _product(equation, left, right):
    return jnp.einsum(equation, left, right, preferred_element_type=jnp.float32)


def _part(x, number, size, axis=2):
    return jax.lax.dynamic_slice_in_dim(x, number * size, size, axis)


def _add_part(x, number, part):
    """Adds to a block of queries, ``[B, H, q, D]`` of ``[B, H, Q, D]``."""
    size = part.shape[2]
    return jax.lax.dynamic_update_slice_in_dim(
        x, _part(x, number, size) + part, number * size, axis=2
    )


def _joined(parts):
    """``[N, B, H, q, …]``, block by block, as ``[B, H, Nq, …]``."""
    parts = jnp.moveaxis(parts, 0, 2)
    return parts.reshape(*parts.shape[:2], -1, *parts.shape[4:])
