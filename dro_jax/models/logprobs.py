"""Log-probabilities of responses: the one place where they are computed."""

import jax
import jax.numpy as jnp


def token_logprobs(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """log π(y_t | x, y_<t) of each target token.

    ``logits[y_t] − logsumexp(logits)``, in float32 whatever the activation type.

    Args:
      logits: ``[..., V]``.
      targets: ``[...]`` int32 token ids.

    Returns:
      ``[...]`` float32, nats.
    """
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def trajectory_mask(
    token_weights: jax.Array, segment_ids: jax.Array | None, num_trajectories: int
) -> jax.Array:
    """Which tokens belong to which trajectory of their row.

    Args:
      token_weights: ``[B, T]`` weight of each target token, 0 at padding.
      segment_ids: ``[B, T]`` s + 1 for trajectory s of the row, or None when each row
        is one trajectory.
      num_trajectories: S, trajectories a row.

    Returns:
      ``[B, T, S]`` float32.
    """
    token_weights = token_weights.astype(jnp.float32)
    if segment_ids is None:
        return token_weights[..., None]
    slots = jnp.arange(1, num_trajectories + 1, dtype=segment_ids.dtype)
    owned = segment_ids[..., None] == slots[None, None, :]
    return token_weights[..., None] * owned.astype(jnp.float32)


def sum_over_tokens(per_token: jax.Array, mask: jax.Array) -> jax.Array:
    """Float32 sums over each trajectory's tokens.

    Args:
      per_token: ``[B, T]``.
      mask: ``[B, T, S]`` from :func:`trajectory_mask`.

    Returns:
      ``[B, S]`` float32. A trajectory without tokens gets 0.
    """
    # Multiply and reduce, not einsum: a matmul would round to bfloat16 on TPUs.
    return jnp.sum(per_token.astype(jnp.float32)[..., None] * mask, axis=1)
