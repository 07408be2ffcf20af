"""T5's bias inside the kernel: from diagonals to squares, and gradients back.

The bias is a function of key − query, so that all squares on one diagonal of squares are
the same. A program makes each once from its diagonals, for all rows of the batch, and
keeps them in the chip's own memory; the gradient is summed into such squares, and along
their diagonals only once, after the last row.

Diagonals come in reverse, padded by one in front: of blocks Q and K long, number
``K − (key − query)``. Row j of a square is then row 0 moved by j lanes.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dro_jax.models.attention_kernel.layout import Layout


def spread(layout: Layout, diagonals, squares) -> None:
    """Fills the squares of all heads of a program.

    Args:
      layout: of the call.
      diagonals: a reference to float32 ``[1, heads, Q + K]``.
      squares: a reference to float32 ``[heads · tiles, tile, tile]``, keys first.
    """
    side = layout.tile

    def fill(number, _):
        head, tile = _place(layout, number)
        strip = diagonals[0, pl.ds(head, 1), _strip(layout, tile)]
        rows = jnp.broadcast_to(strip, (side, 2 * side))
        squares[number] = _moved(rows, 1)[:, side:]

    jax.lax.fori_loop(0, layout.heads * layout.tiles, fill, None)


def gather(layout: Layout, squares, diagonals) -> None:
    """Sums squares along their diagonals: the transpose of `spread`.

    Args:
      layout: of the call.
      squares: a reference to float32 ``[heads · tiles, tile, tile]``.
      diagonals: a reference to float32 ``[1, heads, Q + K]``, which is written.
    """
    diagonals[...] = jnp.zeros(diagonals.shape, diagonals.dtype)

    def add(number, _):
        head, tile = _place(layout, number)
        square = squares[number]
        apart = jnp.concatenate([jnp.zeros_like(square), square], axis=1)
        moved = _moved(apart, -1)
        place = (0, pl.ds(head, 1), _strip(layout, tile))
        diagonals[place] += moved.sum(axis=0, keepdims=True)

    jax.lax.fori_loop(0, layout.heads * layout.tiles, add, None)


def block_of(layout: Layout, squares, head: int, query_block, key_block) -> jax.Array:
    """The bias of a block, float32 ``[key_block, query_block]``."""
    keys, queries = _counts(layout)
    first = _first(layout, head, query_block, key_block)
    found = [squares[first + offset] for offset in range(keys + queries - 1)]
    rows = [
        jnp.concatenate([found[a - b + queries - 1] for b in range(queries)], axis=1)
        for a in range(keys)
    ]
    return jnp.concatenate(rows, axis=0)


def add_block(layout: Layout, squares, head: int, query_block, key_block, block):
    """Adds a block's gradient, ``[key_block, query_block]``, to the squares."""
    keys, queries = _counts(layout)
    side = layout.tile
    first = _first(layout, head, query_block, key_block)
    sums = [None] * (keys + queries - 1)
    for a in range(keys):
        for b in range(queries):
            square = block[a * side : (a + 1) * side, b * side : (b + 1) * side]
            offset = a - b + queries - 1
            before = sums[offset]
            sums[offset] = square if before is None else before + square
    for offset, total in enumerate(sums):
        squares[first + offset] += total


def _moved(rows: jax.Array, way: int) -> jax.Array:
    """Rotates row j by j lanes, forth (1) or back (-1), a binary digit of j at a time.

    TPU's own strided rotation goes forth only, and not before v5.
    """
    row = jax.lax.broadcasted_iota(jnp.int32, rows.shape, 0)
    step = 1
    while step < len(rows):
        rotated = pltpu.roll(rows, (way * step) % rows.shape[1], 1)
        rows = jnp.where((row & step) != 0, rotated, rows)
        step *= 2
    return rows


def _place(layout: Layout, number):
    """The head and the diagonal of a square."""
    return jax.lax.div(number, layout.tiles), jax.lax.rem(number, layout.tiles)


def _strip(layout: Layout, tile):
    """Where the diagonals of a square are, the first of which no number of it has."""
    start = (layout.tiles - 1 - tile) * layout.tile
    return pl.ds(pl.multiple_of(start, layout.tile), 2 * layout.tile)


def _counts(layout: Layout) -> tuple[int, int]:
    """Squares along the keys and along the queries of a block."""
    return layout.key_block // layout.tile, layout.query_block // layout.tile


def _first(layout: Layout, head: int, query_block, key_block):
    """The square of a block's first key and last query."""
    keys, queries = _counts(layout)
    before = layout.query_blocks * queries
    offset = key_block * keys - (query_block + 1) * queries
    return head * layout.tiles + before + offset
