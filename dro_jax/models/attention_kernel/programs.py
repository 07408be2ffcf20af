"""How calls of the kernel are laid out: a program a row and as many heads as fill lanes.

A program has the whole row in the chip's own memory, so each number is read and written
once, and goes through blocks in loops of its own: what is skipped costs nothing.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dro_jax.models.attention_kernel.layout import Layout

# Of the chip's own memory, what a kernel may take without asking.
_USUAL_MEMORY = 16 * 2**20


def of_rows(layout: Layout, length: int) -> pl.BlockSpec:
    """Of ``[B, L, H · D]`` a row, and the program's heads."""
    return pl.BlockSpec((1, length, layout.width), lambda h, b, *_: (b, 0, h))


def of_ids(length: int) -> pl.BlockSpec:
    """Of ``[B, 1, L]`` a row."""
    return pl.BlockSpec((1, 1, length), lambda h, b, *_: (b, 0, 0))


def attended(
    layout: Layout,
    query_ids: jax.Array,
    key_ids: jax.Array,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
) -> list[tuple[jax.Array, pl.BlockSpec]]:
    """What both passes read first, with what a program has of each."""
    by_query = of_rows(layout, layout.query_length)
    by_key = of_rows(layout, layout.key_length)
    return [
        (query_ids, of_ids(layout.query_length)),
        (key_ids, of_ids(layout.key_length)),
        (query, by_query),
        (key, by_key),
        (value, by_key),
    ]


def of_strips(layout: Layout) -> pl.BlockSpec | None:
    """Of ``[programs, heads, Q + K]`` the program's heads; None without diagonals."""
    if not layout.has_diagonals:
        return None
    length = layout.query_length + layout.key_length
    return pl.BlockSpec((1, layout.heads, length), lambda h, b, *_: (h, 0, 0))


def sums_shape(layout: Layout) -> tuple[int, ...]:
    """Of one number a query and head."""
    return (layout.batch, layout.programs, layout.heads, layout.query_length)


def of_sums(layout: Layout) -> pl.BlockSpec:
    """Of `sums_shape` a row, and the program's heads."""
    shape = (1, 1, *sums_shape(layout)[2:])
    return pl.BlockSpec(shape, lambda h, b, *_: (b, h, 0, 0))


def squares(layout: Layout) -> pl.MemoryRef:
    """Memory for the squares that `diagonals` keeps."""
    shape = (layout.heads * layout.tiles, layout.tile, layout.tile)
    return pltpu.VMEM(shape, jnp.float32)


def block(number, size: int):
    """The places of a block."""
    return pl.ds(pl.multiple_of(number * size, size), size)


def split_heads(layout: Layout, rows: jax.Array) -> list[jax.Array]:
    """``[L, width]`` once a head, 0 where it is another's.

    A product of such rows with whole ones is the head's own, and takes no longer: the
    unit that multiplies is 128 wide.
    """
    if layout.heads == 1:
        return [rows]
    lane = jax.lax.broadcasted_iota(jnp.int32, rows.shape, 1)
    head = jax.lax.div(lane, layout.head_dim)
    wide = rows.astype(jnp.float32)
    return [
        jnp.where(head == number, wide, 0.0).astype(rows.dtype)
        for number in range(layout.heads)
    ]


def call(
    layout: Layout,
    program: Callable,
    *,
    name: str,
    prefetched: Sequence[jax.Array],
    inputs: Sequence[tuple[jax.Array | None, pl.BlockSpec | None]],
    outputs: Sequence[tuple[tuple[int, ...], jnp.dtype, pl.BlockSpec]],
    scratch: Sequence[pl.MemoryRef],
    products: int,
):
    """Runs the programs: heads side by side, rows one after the other.

    Args:
      layout: of the call.
      program: the kernel; it is given references, in the order below.
      name: what profiles call it.
      prefetched: numbers that steer it.
      inputs: arrays with what a program has of each; None is left out.
      outputs: shapes, dtypes, and what a program has of each.
      scratch: memory of its own, which it keeps from row to row.
      products: matrix products of ``[Q, K, D]`` a head, for the estimate of the cost.
    """
    present = [(array, spec) for array, spec in inputs if array is not None]
    arrays = [array for array, _ in present]
    specs = [*(spec for _, spec in present), *(spec for *_, spec in outputs)]
    shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype, _ in outputs]
    moved = sum(array.size * array.dtype.itemsize for array in [*arrays, *shapes])
    cost = pl.CostEstimate(
        flops=2 * products * layout.pairs * layout.head_dim,
        transcendentals=layout.pairs,
        bytes_accessed=moved,
    )
    return pl.pallas_call(
        program,
        name=name,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=len(prefetched),
            grid=(layout.programs, layout.batch),
            in_specs=[spec for _, spec in present],
            out_specs=[spec for *_, spec in outputs],
            scratch_shapes=list(scratch),
        ),
        out_shape=shapes,
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"),
            vmem_limit_bytes=_memory(layout, arrays, shapes, specs, scratch),
        ),
        interpret=layout.interpret,
    )(*prefetched, *arrays)


def _memory(layout, arrays, shapes, specs, scratch) -> int:
    """Bytes of the chip's own memory, with room for a dozen blocks of logits."""
    blocks = [
        math.prod(spec.block_shape) * array.dtype.itemsize
        for array, spec in zip([*arrays, *shapes], specs, strict=True)
    ]
    own = [math.prod(ref.shape) * jnp.dtype(ref.dtype).itemsize for ref in scratch]
    logits = layout.query_block * layout.key_block * 4
    # Each block twice, so that the next one is fetched while one is worked on; small
    # ones are padded to whole registers.
    needed = 2 * sum(blocks) + sum(own) + 16 * logits
    return max(_USUAL_MEMORY, needed * 5 // 4)
