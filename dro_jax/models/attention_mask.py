"""Who may attend to whom, by segments: what attention needs in place of a matrix."""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class AttentionMask:
    """Keys that each query may attend to: those of its own segment.

    A row that is not packed is one segment. Numbers of segments take a few kilobytes
    where the mask, as a matrix, takes Q · K bytes for each row.

    Attributes:
      query_segment_ids: int32 ``[B, Q]``, 0 where there is no token.
      key_segment_ids: int32 ``[B, K]``, 0 where there is no token.
      causal: whether a query sees no key that stands after it.
    """

    query_segment_ids: jax.Array
    key_segment_ids: jax.Array
    causal: bool = struct.field(pytree_node=False, default=False)

    def matrix(self) -> jax.Array:
        """The mask of each pair: bool ``[B, 1, Q, K]``."""
        queries, keys = self.query_segment_ids, self.key_segment_ids
        mask = (queries[:, :, None] == keys[:, None, :]) & (queries > 0)[:, :, None]
        if self.causal:
            mask &= jnp.tri(queries.shape[1], keys.shape[1], dtype=bool)[None]
        return mask[:, None]


def segments_of(valid: jax.Array, segment_ids: jax.Array | None = None) -> jax.Array:
    """The segment of each token, 0 where there is none: int32 ``[B, L]``.

    Args:
      valid: bool ``[B, L]``, where there are tokens.
      segment_ids: int32 ``[B, L]``, when packed; else a row is segment 1.
    """
    return jnp.where(valid, 1 if segment_ids is None else segment_ids, 0).astype(
        jnp.int32
    )
