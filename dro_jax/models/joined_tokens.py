"""A batch's prompts and responses as one sequence for each trajectory."""

import dataclasses

import jax
import jax.numpy as jnp

from dro_jax.models.shared_prompts import Batch, group_size

_PROMPT, _RESPONSE = 0, 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class JoinedTokens:
    """Rows in which each trajectory's response follows its prompt.

    Of B rows with groups of K, row bK + k holds the response k of each group of row b
    behind a copy of the group's prompt; without groups K is 1 and a row stays one.

    Attributes:
      tokens: int32 ``[BK, L + T]``; all padding stands behind.
      segments: int32 ``[BK, L + T]`` g + 1 for group g of the row, 0 at padding.
      is_response: bool ``[BK, L + T]``.
      num_groups: G.
      group_size: K.
    """

    tokens: jax.Array
    segments: jax.Array
    is_response: jax.Array
    num_groups: int = dataclasses.field(default=1, metadata={"static": True})
    group_size: int = dataclasses.field(default=1, metadata={"static": True})

    def owned(self, *, response_only: bool = False) -> jax.Array:
        """Which positions belong to which group: bool ``[BK, G, L + T]``."""
        groups = jnp.arange(1, self.num_groups + 1, dtype=jnp.int32)
        found = self.segments[:, None] == groups[None, :, None]
        return found & self.is_response[:, None] if response_only else found

    def by_row(self, values: jax.Array) -> jax.Array:
        """``[BK, G] -> [B, S]``: back to the batch's trajectories, s = gK + k."""
        size = self.group_size
        split = values.reshape(-1, size, self.num_groups)
        return jnp.swapaxes(split, 1, 2).reshape(-1, size * self.num_groups)


def joined(batch: Batch) -> JoinedTokens:
    """The tokens of a batch, prompt and response of each trajectory side by side.

    A trajectory's tokens stand together and in order, whatever lies around them, so
    that an encoder that sees distances alone gives it the same states anywhere: a row
    of prompts ``1 1 2`` and responses ``1 2 2`` becomes ``1 1 1 2 2 2``.

    Args:
      batch: B rows of S trajectories, fields as in the design's batch contract.
    """
    prompts, responses = batch["encoder_input_tokens"], batch["decoder_target_tokens"]
    size, slots = group_size(batch), batch["trajectory_weights"].shape[1]
    if "encoder_segment_ids" in batch:
        of_prompt = batch["encoder_segment_ids"]
        of_response = batch["decoder_segment_ids"]
    else:
        of_prompt = (prompts > 0).astype(jnp.int32)
        of_response = (responses > 0).astype(jnp.int32)
    of_response = jnp.where(responses > 0, of_response, 0)
    numbers = jnp.arange(size, dtype=jnp.int32)[None, :, None]
    # [B, K, T]: the responses of one place in their groups, the others left out.
    place = jnp.where(of_response > 0, (of_response - 1) % size, -1)
    groups = jnp.where(
        place[:, None] == numbers, (of_response[:, None] - 1) // size + 1, 0
    )

    def both(of_prompts, of_responses):
        copies = jnp.broadcast_to(
            of_prompts[:, None], (len(prompts), size, prompts.shape[1])
        )
        parts = jnp.concatenate([copies, of_responses], axis=2)
        return parts.reshape(-1, parts.shape[2])

    def tiled(of_responses):
        return jnp.broadcast_to(of_responses[:, None], groups.shape)

    tokens = both(prompts, tiled(responses))
    segments = both(jnp.where(prompts > 0, of_prompt, 0), groups)
    is_response = both(jnp.zeros_like(prompts), jnp.ones_like(groups)) == _RESPONSE
    # A stable sort by group, then by kind, padding last: no token passes another of its
    # kind. In it lie the only moves that packing and groups need.
    kinds = jnp.where(is_response, _RESPONSE, _PROMPT).astype(jnp.int32)
    last = jnp.iinfo(jnp.int32).max
    keys = jnp.where(segments > 0, 2 * segments + kinds, last)
    order = jnp.argsort(keys, axis=1, stable=True)

    def sorted_(values):
        return jnp.take_along_axis(values, order, axis=1)

    segments = sorted_(segments)
    return JoinedTokens(
        tokens=jnp.where(segments > 0, sorted_(tokens), 0),
        segments=segments,
        is_response=sorted_(is_response) & (segments > 0),
        num_groups=slots // size,
        group_size=size,
    )
