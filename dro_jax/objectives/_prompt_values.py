"""What a prompt is worth under the reference, estimated from responses to it.

``V*(x) = τ log E_{y∼π_ref}[exp(r(x, y)/τ)]``, the value that DRO trains, is a mean over
the reference's responses: over samples of its own, or over what is logged.
"""

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives.checks import (
    check_groups,
    check_one_length,
    check_per_response,
    check_per_trajectory,
    check_positive,
)

__all__ = ["logged_values", "rpo_prompt_values", "sampled_values"]


def sampled_values(
    rewards: jax.Array, *, tau: float, weights: jax.Array | None = None
) -> jax.Array:
    """The optimal value from rewards of the reference's own samples.

    ``V̂(x) = τ log mean_i exp(r_i/τ)``, which tends to V* as samples grow in number; with
    few of them it lies below V* on average, the more so the smaller τ is.

    Source: arXiv 2505.20686 (A*-PO), its first stage.

    Args:
      rewards: ``[P, n]`` float32 of n samples to each of P prompts.
      tau: strength of the KL term, reward per nat.
      weights: ``[P, n]`` 1 for a sample that is present, 0 for padding, whose reward is
        not read; default 1.

    Returns:
      ``[P]`` V̂(x), in units of reward, without gradient; 0 where no sample is present.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_response(rewards=rewards, weights=weights)
    check_positive(tau=tau)
    present = weights > 0
    rewards = arithmetic.keep_present(jax.lax.stop_gradient(rewards), weights)
    count = jnp.sum(present, axis=1, dtype=jnp.float32)
    sums = jax.nn.logsumexp(jnp.where(present, rewards / tau, -jnp.inf), axis=1)
    # Of padding alone the sum is −∞.
    return jnp.where(count > 0, tau * (sums - jnp.log(jnp.maximum(count, 1.0))), 0.0)


def logged_values(
    rewards: jax.Array,
    groups: jax.Array,
    *,
    tau: float,
    weights: jax.Array | None = None,
) -> jax.Array:
    """:func:`sampled_values` of responses in any order, taken for the reference's own.

    Args:
      rewards: ``[N]``.
      groups: ``[N]`` integers, equal for responses of one prompt.
      tau: strength of the KL term, reward per nat.
      weights: ``[N]`` how often each is logged, 0 for padding, whose reward is not read;
        default 1.

    Returns:
      ``[N]`` V̂(x) of each response's prompt, in units of reward, without gradient; 0 at
      padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_trajectory(rewards=rewards, weights=weights)
    counts = jnp.log(jnp.where(weights > 0, weights, 1.0))
    return rpo_prompt_values(counts, rewards, groups, tau=tau, weights=weights)


def mean_rewards(
    rewards: jax.Array, groups: jax.Array, *, weights: jax.Array | None = None
) -> jax.Array:
    """The mean reward of what is logged for a prompt: the logging policy's value.

    Args:
      rewards: ``[N]``.
      groups: ``[N]`` integers, equal for responses of one prompt.
      weights: ``[N]`` how often each is logged, 0 for padding, whose reward is not read;
        default 1.

    Returns:
      ``[N]`` the mean of each response's prompt, without gradient; 0 at padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_trajectory(rewards=rewards, weights=weights)
    owners = _owners(groups, rewards)
    rewards = arithmetic.keep_present(jax.lax.stop_gradient(rewards), weights)
    sums, totals = (
        jax.ops.segment_sum(x, owners, num_segments=len(rewards))[owners]
        for x in (rewards * weights, weights)
    )
    return jnp.where(weights > 0, sums / jnp.where(totals > 0, totals, 1.0), 0.0)


def rpo_prompt_values(
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    groups: jax.Array,
    *,
    tau: float,
    weights: jax.Array | None = None,
    normalized: bool = True,
) -> jax.Array:
    """RPO's estimate of the optimal value from all responses logged for a prompt.

    ``V̂(x) = τ log Σ_i p_i exp(r_i/τ)``, p the softmax of log π_ref(y_i|x) over them:
    V* where all responses are logged, and r itself where one is.

    Source: arXiv 2506.13702. The authors' code takes for p_i the exponential of the
    length-averaged log-probability, not normalised; pass such averages with
    ``normalized=False`` to reproduce it.

    Args:
      reference_logprobs: ``[N]`` float32 log π_ref(y|x), summed over tokens, nats.
      rewards: ``[N]``.
      groups: ``[N]`` integers, equal for responses of one prompt.
      tau: strength of the KL term, reward per nat.
      weights: ``[N]`` 1 for a trajectory that is present, 0 for padding, whose numbers
        are not read; default 1.
      normalized: whether the p_i of a prompt are divided by their sum.

    Returns:
      ``[N]`` V̂(x) of each trajectory's prompt, in units of reward, without gradient; 0
      at padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_trajectory(
        reference_logprobs=reference_logprobs, rewards=rewards, weights=weights
    )
    check_positive(tau=tau)
    owners = _owners(groups, rewards)
    present = weights > 0
    logprobs = jnp.where(present, jax.lax.stop_gradient(reference_logprobs), -jnp.inf)
    rewards = arithmetic.keep_present(jax.lax.stop_gradient(rewards), weights)
    if normalized:
        logprobs = logprobs - _logsumexp_of_group(logprobs, owners)
    values = tau * _logsumexp_of_group(logprobs + rewards / tau, owners)
    return jnp.where(present, values, 0.0)


def _owners(groups, rewards):
    """``[N]`` numbers of prompts from 0 on: segments need no more places than rows."""
    check_groups(groups=groups)
    check_one_length(rewards=rewards, groups=groups)
    # `size` keeps the shape known to a trace.
    return jnp.unique(groups, return_inverse=True, size=groups.shape[0])[1]


def _logsumexp_of_group(values, owners):
    """``[N] -> [N]``: each entry's logsumexp over its group; 0 for a group of −inf."""
    largest = jax.ops.segment_max(values, owners, num_segments=values.shape[0])[owners]
    # Of padding alone the largest is −∞, and −∞ less itself is NaN.
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    sums = jax.ops.segment_sum(
        jnp.exp(values - largest), owners, num_segments=values.shape[0]
    )[owners]
    return largest + jnp.log(jnp.where(sums > 0, sums, 1.0))
