"""Which responses of a batch's rows answer one prompt, encoded once for them all.

Of a grouped batch, row b has prompts g < G, segment g + 1 of its encoder, and K places
for the responses to each: response k of prompt g is trajectory s = gK + k, segment s + 1
of its decoder. A batch that is not grouped has K = 1.
"""

import jax
import jax.numpy as jnp

Batch = dict[str, jax.Array]


def group_size(batch: Batch) -> int:
    """How many places each prompt of a row has for its responses, K."""
    if "group_weights" not in batch:
        return 1
    return batch["trajectory_weights"].shape[1] // batch["group_weights"].shape[1]


def prompt_weights(batch: Batch) -> jax.Array:
    """``[B, G]``: 1 where a prompt is, 0 where a place is empty."""
    return batch.get("group_weights", batch["trajectory_weights"])


def prompt_mask(batch: Batch) -> jax.Array:
    """Which encoder positions hold which prompt: bool ``[B, G, L]``; padding is nobody's."""
    real = (batch["encoder_input_tokens"] > 0)[:, None]
    segments = batch.get("encoder_segment_ids")
    if segments is None:
        return real
    slots = jnp.arange(1, prompt_weights(batch).shape[1] + 1, dtype=jnp.int32)
    return real & (segments[:, None] == slots[None, :, None])


def decoder_prompt_ids(batch: Batch) -> jax.Array | None:
    """``[B, T]``: the encoder's segment that each target token answers; None, its own."""
    if "group_weights" not in batch:
        return None
    segments = batch["decoder_segment_ids"]
    return jnp.where(segments > 0, (segments - 1) // group_size(batch) + 1, 0)


def of_responses(of_prompts: jax.Array, batch: Batch) -> jax.Array:
    """What is each prompt's, for each of its responses: ``[B, G, …] -> [B, S, …]``."""
    size = group_size(batch)
    return of_prompts if size == 1 else jnp.repeat(of_prompts, size, axis=1)
