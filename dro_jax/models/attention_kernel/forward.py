"""The forward pass: softmax over blocks of keys, as they are met."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dro_jax.models.attention_kernel import diagonals, programs, segments
from dro_jax.models.attention_kernel.layout import LANES, Layout
from dro_jax.models.attention_kernel.products import by_last, plain


def forward(layout: Layout, query, key, value, strips, query_ids, key_ids):
    """Attends.

    Args:
      layout: of the call.
      query: ``[B, Q, H · D]``.
      key, value: ``[B, K, H · D]``.
      strips: the diagonals as `diagonals` has them, float32
        ``[programs, heads, Q + K]``; None without.
      query_ids, key_ids: of `segments.apart`.

    Returns:
      The result ``[B, Q, H · D]``, and the logarithms of the softmax's denominators,
      float32 ``[B, programs, heads, Q]``.
    """
    start, end = segments.meeting_ranges(layout, query_ids, key_ids, of_keys=False)
    by_query = programs.of_rows(layout, layout.query_length)
    scratch = [
        pltpu.VMEM((layout.width, layout.key_length), value.dtype),
        pltpu.VMEM((layout.key_length, LANES), jnp.int32),
    ]
    if layout.has_diagonals:
        scratch.append(programs.squares(layout))
    return programs.call(
        layout,
        functools.partial(_program, layout),
        name="attention",
        prefetched=[start, end],
        inputs=[
            *programs.attended(layout, query_ids, key_ids, query, key, value),
            (strips, programs.of_strips(layout)),
        ],
        outputs=[
            (query.shape, query.dtype, by_query),
            (programs.sums_shape(layout), jnp.float32, programs.of_sums(layout)),
        ],
        scratch=scratch,
        products=2,
    )


def _program(layout, start, end, query_ids, key_ids, query, key, value, *others):
    """A row's queries, of the heads of one program."""
    strips, *others = others if layout.has_diagonals else (None, *others)
    out, log_sums, value_t, key_column, *others = others
    squares = others[0] if layout.has_diagonals else None
    row = pl.program_id(1)
    if squares is not None:

        @pl.when(row == 0)
        def _():
            diagonals.spread(layout, strips, squares)

    value_t[...] = value[0].T
    key_column[...] = segments.as_column(key_ids[0])
    dim = layout.head_dim

    def attend(i, _):
        queries = programs.block(i, layout.query_block)
        of_heads = programs.split_heads(layout, query[0, queries, :])
        ids = query_ids[0, :, queries]

        def step(j, carry):
            keys = programs.block(j, layout.key_block)
            mask = segments.block_mask(layout, ids, key_column[keys, :], i, j)
            key_rows = key[0, keys, :]
            new = []
            for head, (maximum, total, summed) in enumerate(carry):
                logits = by_last(key_rows, of_heads[head])
                if squares is not None:
                    logits += diagonals.block_of(layout, squares, head, i, j)
                logits = jnp.where(mask, logits, segments.MASKED_LOGIT)
                largest = jnp.max(logits, axis=0, keepdims=True)
                largest = jnp.maximum(maximum, largest)
                weights = jnp.exp(logits - largest)
                shrink = jnp.exp(maximum - largest)
                total = total * shrink + jnp.sum(weights, axis=0, keepdims=True)
                values = value_t[head * dim : (head + 1) * dim, keys]
                summed = summed * shrink + plain(values, weights.astype(value.dtype))
                new.append((largest, total, summed))
            return tuple(new)

        ones = (1, layout.query_block)
        nothing = (
            jnp.full(ones, segments.LEAST_MAXIMUM),
            jnp.zeros(ones),
            jnp.zeros((dim, layout.query_block)),
        )
        which = row * layout.query_blocks + i
        carry = jax.lax.fori_loop(
            start[which], end[which], step, (nothing,) * layout.heads
        )
        results = []
        for head, (maximum, total, summed) in enumerate(carry):
            # Nothing was met where the total is 0: the result is 0, no 0 / 0.
            total = jnp.where(total == 0.0, 1.0, total)
            results.append(summed / total)
            log_sums[0, 0, head : head + 1, queries] = maximum + jnp.log(total)
        result = jnp.concatenate(results, axis=0).T
        out[0, queries, :] = result.astype(out.dtype)

    jax.lax.fori_loop(0, layout.query_blocks, attend, None)
