"""The backward pass: all gradients in one sweep, the weights computed anew."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dro_jax.models.attention_kernel import diagonals, programs, segments
from dro_jax.models.attention_kernel.layout import LANES, Layout
from dro_jax.models.attention_kernel.products import by_last, plain


def backward(
    layout: Layout, query, key, value, strips, query_ids, key_ids, out, log_sums, given
):
    """Gradients of `forward`.

    Args:
      layout: of the call.
      query, key, value, strips, query_ids, key_ids: as `forward`'s.
      out, log_sums: its results.
      given: the gradient of the first of them.

    Returns:
      Gradients of query, key, value, and strips if there are any.
    """
    start, end = segments.meeting_ranges(layout, query_ids, key_ids, of_keys=True)
    by_query = programs.of_rows(layout, layout.query_length)
    by_key = programs.of_rows(layout, layout.key_length)
    of_queries = (layout.heads, layout.query_length, layout.width)
    scratch = [
        pltpu.VMEM(of_queries, query.dtype),
        pltpu.VMEM(of_queries, query.dtype),
        pltpu.VMEM((layout.heads, layout.query_length), jnp.float32),
        pltpu.VMEM((layout.width, layout.key_length), key.dtype),
        pltpu.VMEM((layout.width, layout.query_length), jnp.float32),
        pltpu.VMEM((layout.key_length, LANES), jnp.int32),
    ]
    outputs = [
        (query.shape, query.dtype, by_query),
        (key.shape, key.dtype, by_key),
        (value.shape, value.dtype, by_key),
    ]
    if layout.has_diagonals:
        outputs.append((strips.shape, jnp.float32, programs.of_strips(layout)))
        scratch += [programs.squares(layout)] * 2
    return programs.call(
        layout,
        functools.partial(_program, layout),
        name="attention_backward",
        prefetched=[start, end],
        inputs=[
            *programs.attended(layout, query_ids, key_ids, query, key, value),
            (out, by_query),
            (given, by_query),
            (log_sums, programs.of_sums(layout)),
            (strips, programs.of_strips(layout)),
        ],
        outputs=outputs,
        scratch=scratch,
        products=5,
    )


def _program(
    layout, start, end, query_ids, key_ids, query, key, value, out, given, log_sums,
    *others,
):  # fmt: skip
    """A row's gradients, of the heads of one program."""
    strips, *others = others if layout.has_diagonals else (None, *others)
    query_grad, key_grad, value_grad, *others = others
    strips_grad, *others = others if layout.has_diagonals else (None, *others)
    queries_of, givens_of, inner, key_t, query_grad_t, key_column, *others = others
    squares, squares_grad = others if layout.has_diagonals else (None, None)
    row, dim = pl.program_id(1), layout.head_dim
    if squares is not None:

        @pl.when(row == 0)
        def _():
            diagonals.spread(layout, strips, squares)
            squares_grad[...] = jnp.zeros(squares_grad.shape, jnp.float32)

    key_t[...] = key[0].T
    key_column[...] = segments.as_column(key_ids[0])
    query_grad_t[...] = jnp.zeros(query_grad_t.shape, jnp.float32)

    def prepare(i, _):
        queries = programs.block(i, layout.query_block)
        rows, given_rows = query[0, queries, :], given[0, queries, :]
        split = programs.split_heads(layout, rows)
        given_split = programs.split_heads(layout, given_rows)
        both = out[0, queries, :].astype(jnp.float32) * given_rows.astype(jnp.float32)
        both = both.T
        for head in range(layout.heads):
            queries_of[head, queries, :] = split[head]
            givens_of[head, queries, :] = given_split[head]
            mine = both[head * dim : (head + 1) * dim]
            inner[head : head + 1, queries] = mine.sum(axis=0, keepdims=True)

    jax.lax.fori_loop(0, layout.query_blocks, prepare, None)

    def of_keys(j, _):
        keys = programs.block(j, layout.key_block)
        key_rows, value_rows = key[0, keys, :], value[0, keys, :]

        def step(i, carry):
            key_sum, value_sum = carry
            queries = programs.block(i, layout.query_block)
            ids = query_ids[0, :, queries]
            mask = segments.block_mask(layout, ids, key_column[keys, :], i, j)
            for head in range(layout.heads):
                mine = slice(head * dim, (head + 1) * dim)
                one = slice(head, head + 1)
                logits = by_last(key_rows, queries_of[head, queries, :])
                if squares is not None:
                    logits += diagonals.block_of(layout, squares, head, i, j)
                logits = jnp.where(mask, logits, segments.MASKED_LOGIT)
                weights = jnp.exp(logits - log_sums[0, 0, one, queries])
                given_rows = givens_of[head, queries, :]
                value_sum += plain(weights.astype(value.dtype), given_rows)
                weights_grad = by_last(value_rows, given_rows)
                logits_grad = weights * (weights_grad - inner[one, queries])
                if squares is not None:
                    diagonals.add_block(layout, squares_grad, head, i, j, logits_grad)
                logits_grad = logits_grad.astype(query.dtype)
                key_sum += plain(logits_grad, queries_of[head, queries, :])
                query_grad_t[mine, queries] += plain(key_t[mine, keys], logits_grad)
            return key_sum, value_sum

        which = row * layout.key_blocks + j
        zeros = jnp.zeros((layout.key_block, layout.width))
        sums = jax.lax.fori_loop(start[which], end[which], step, (zeros, zeros))
        key_grad[0, keys, :] = sums[0].astype(key_grad.dtype)
        value_grad[0, keys, :] = sums[1].astype(value_grad.dtype)

    jax.lax.fori_loop(0, layout.key_blocks, of_keys, None)

    def finish(i, _):
        queries = programs.block(i, layout.query_block)
        rows = query_grad_t[:, queries].T
        query_grad[0, queries, :] = rows.astype(query_grad.dtype)

    jax.lax.fori_loop(0, layout.query_blocks, finish, None)
    if squares is not None:

        @pl.when(row == layout.batch - 1)
        def _():
            diagonals.gather(layout, squares_grad, strips_grad)
