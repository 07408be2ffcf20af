"""Which queries and keys meet: block by block outside the kernel, number by number in it.

Correct for segment ids in any order; in the order that packing has, blocks that no
segment shares are skipped.
"""

import jax
import jax.numpy as jnp

from dro_jax.models.attention_kernel.layout import LANES, Layout

# Below any logit, and finite. A running maximum starts at half of it, so that what is
# masked has a weight of exactly 0 even where a query meets nothing.
MASKED_LOGIT = -1e10
LEAST_MAXIMUM = 0.5 * MASKED_LOGIT


def apart(segment_ids: jax.Array, length: int, nothing: int) -> jax.Array:
    """Ids as the kernel compares them: int32 ``[B, 1, length]``.

    Args:
      segment_ids: int32 ``[B, L]``, 0 where there is no token.
      length: to which rows are padded.
      nothing: a negative id for what is no token, one for queries, another for keys.
    """
    ids = jnp.where(segment_ids == 0, nothing, segment_ids)
    missing = length - ids.shape[1]
    return jnp.pad(ids, ((0, 0), (0, missing)), constant_values=nothing)[:, None]


def meeting_ranges(
    layout: Layout, query_ids: jax.Array, key_ids: jax.Array, *, of_keys: bool
) -> tuple[jax.Array, jax.Array]:
    """For each block of queries the first key block that it meets, and the one after.

    Args:
      layout: of the call.
      query_ids: ``[B, 1, Q]`` of `apart`.
      key_ids: ``[B, 1, K]``.
      of_keys: for each block of keys the blocks of queries, the other way round.

    Returns:
      int32 ``[B · blocks]`` each, equal where a block meets none.
    """
    low, high = _bounds(query_ids, layout.query_blocks)
    key_low, key_high = _bounds(key_ids, layout.key_blocks)
    meets = (low[:, :, None] <= key_high[:, None]) & (
        key_low[:, None] <= high[:, :, None]
    )
    if layout.causal:
        last_query = jnp.arange(1, layout.query_blocks + 1) * layout.query_block - 1
        first_key = jnp.arange(layout.key_blocks) * layout.key_block
        meets &= (first_key[None] <= last_query[:, None])[None]
    if of_keys:
        meets = meets.swapaxes(1, 2)
    count = meets.shape[-1]
    start = jnp.argmax(meets, axis=-1)
    end = count - jnp.argmax(meets[..., ::-1], axis=-1)
    end = jnp.where(meets.any(axis=-1), end, start)
    return start.astype(jnp.int32).reshape(-1), end.astype(jnp.int32).reshape(-1)


def _bounds(ids: jax.Array, blocks: int) -> tuple[jax.Array, jax.Array]:
    """The least and the largest id of each block's tokens; of none, an empty range."""
    ids = ids.reshape(len(ids), blocks, -1)
    largest = jnp.iinfo(jnp.int32).max
    return jnp.where(ids < 0, largest, ids).min(-1), ids.max(-1)


def as_column(ids: jax.Array) -> jax.Array:
    """Ids ``[1, L]`` down the sublanes of a register, the same in all lanes."""
    return jnp.broadcast_to(ids, (LANES, ids.shape[1])).T


def block_mask(
    layout: Layout, query_ids: jax.Array, key_column: jax.Array, query_block, key_block
) -> jax.Array:
    """Who may attend to whom in a block: bool ``[key_block, query_block]``.

    Args:
      layout: of the call.
      query_ids: ``[1, query_block]``.
      key_column: ``[key_block, LANES]``.
      query_block, key_block: numbers of the blocks.
    """
    shape = (layout.key_block, layout.query_block)
    if layout.query_block % LANES:
        keys = jnp.broadcast_to(key_column[:, :1], shape)
    else:
        keys = jnp.concatenate([key_column] * (layout.query_block // LANES), axis=1)
    mask = keys == query_ids
    if layout.causal:
        key = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
        query = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
        ahead = key_block * layout.key_block - query_block * layout.query_block
        mask &= key - query <= -ahead
    return mask
