"""Log-probabilities of responses: the one place where they are computed.

Float32 logits of a whole batch would take ``B · T · V · 4`` bytes several times over,
more than most networks. They are made a chunk at a time instead, forward and backward;
:mod:`dro_jax.models.output_layer` walks through the chunks.
"""

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
    return logprobs_and_normalizers(logits, targets)[0]


def logprobs_and_normalizers(
    logits: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """:func:`token_logprobs`, and ``logsumexp(logits)``, ``[...]`` float32 each."""
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    normalizers = jax.nn.logsumexp(logits, axis=-1)
    return chosen - normalizers, normalizers


def logits_cotangent(
    logits: jax.Array,
    targets: jax.Array,
    normalizers: jax.Array,
    logprob_cotangents: jax.Array,
    normalizer_cotangents: jax.Array | None = None,
) -> jax.Array:
    """The gradient of :func:`logprobs_and_normalizers` for the logits.

    ``g · (onehot(y_t) − p) + c · p`` with ``p = exp(logits − normalizer)``. Written out,
    since differentiating the gather would scatter into one more array of that size.

    Args:
      logits: ``[..., V]``.
      targets: ``[...]`` int32.
      normalizers: ``[...]``, from the forward pass.
      logprob_cotangents: ``[...]`` g.
      normalizer_cotangents: ``[...]`` c, or None for 0.

    Returns:
      ``[..., V]`` float32.
    """
    on_probabilities = -logprob_cotangents
    if normalizer_cotangents is not None:
        on_probabilities += normalizer_cotangents
    ids = jnp.arange(logits.shape[-1], dtype=targets.dtype)
    chosen = ids.reshape((1,) * targets.ndim + (-1,)) == targets[..., None]
    probabilities = jnp.exp(logits.astype(jnp.float32) - normalizers[..., None])
    return probabilities * on_probabilities[..., None] + jnp.where(
        chosen, logprob_cotangents[..., None], 0.0
    )


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
