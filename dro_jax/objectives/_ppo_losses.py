"""PPO's losses: the clipped surrogate, and that of a value at each token.

Source: arXiv 1707.06347 (PPO), 1909.08593 (of language models).
"""

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives.checks import (
    check_non_negative,
    check_per_token,
    check_positive,
)

__all__ = ["ppo", "ppo_clip", "ppo_value"]


def ppo_clip(
    token_logprobs: jax.Array,
    old_token_logprobs: jax.Array,
    token_weights: jax.Array,
    token_advantages: jax.Array,
    *,
    clip: float = 0.2,
) -> jax.Array:
    """PPO's clipped surrogate.

    ``Σ_t max(−A_t ρ_t, −A_t clamp(ρ_t, 1 − clip, 1 + clip))``,
    ``ρ_t = π_θ(y_t) / π_old(y_t)``

    Source: arXiv 1707.06347. Summed over tokens; to average over the batch's tokens, as
    published code does, divide by their number.

    Args:
      token_logprobs: ``[N, T]`` float32 log π_θ(y_t | x, y_<t), nats.
      old_token_logprobs: ``[N, T]`` under the policy that sampled; no gradient flows
        into it.
      token_weights: ``[N, T]`` 1 for the response's tokens, 0 for padding, whose
        numbers are not read.
      token_advantages: ``[N, T]``; no gradient flows into them.
      clip: ρ is clamped to [1 − clip, 1 + clip] where that lowers the gain.

    Returns:
      ``[N]`` losses, in units of advantage. Beyond ρ = e^60 they grow no more, nor does
      the gradient, which stays finite.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or clip not positive.
    """
    check_per_token(
        token_logprobs=token_logprobs,
        old_token_logprobs=old_token_logprobs,
        token_weights=token_weights,
        token_advantages=token_advantages,
    )
    check_positive(clip=clip)
    logprobs, old, advantages = (
        arithmetic.keep_present(x, token_weights)
        for x in (token_logprobs, old_token_logprobs, token_advantages)
    )
    advantages = jax.lax.stop_gradient(advantages)
    log_ratios = arithmetic.log_ratios(logprobs, old)
    # exp(ℓ), whose derivative is itself; a bare minimum has none above its bound.
    held = jax.lax.stop_gradient(arithmetic.safe_exp(log_ratios))
    ratios = held * jnp.exp(log_ratios - jax.lax.stop_gradient(log_ratios))
    clipped = jnp.clip(ratios, 1 - clip, 1 + clip)
    losses = jnp.maximum(-advantages * ratios, -advantages * clipped)
    return arithmetic.sum_over_tokens(losses, token_weights)


def ppo_value(
    values: jax.Array,
    old_values: jax.Array,
    returns: jax.Array,
    token_weights: jax.Array,
    *,
    clip: float = 0.2,
    coefficient: float = 0.1,
) -> jax.Array:
    """PPO's value loss, clipped around the values at sampling time.

    ``coefficient · Σ_t ½ max((V − R)², (clamp(V, V_old − clip, V_old + clip) − R)²)``

    Args:
      values: ``[N, T]`` float32 V_t, in units of reward.
      old_values: ``[N, T]`` V_t at sampling time; no gradient flows into them.
      returns: ``[N, T]`` R of :func:`generalized_advantages`; no gradient flows into
        them.
      token_weights: ``[N, T]`` 1 for the response's tokens, 0 for padding, whose
        numbers are not read.
      clip: how far V may move from V_old, in units of reward.
      coefficient: weight of this loss beside the policy's.

    Returns:
      ``[N]`` losses, reward², summed over tokens.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, clip not positive, or
        coefficient negative.
    """
    check_per_token(
        values=values,
        old_values=old_values,
        returns=returns,
        token_weights=token_weights,
    )
    check_positive(clip=clip)
    check_non_negative(coefficient=coefficient)
    values = arithmetic.keep_present(values, token_weights)
    old_values, returns = (
        jax.lax.stop_gradient(arithmetic.keep_present(x, token_weights))
        for x in (old_values, returns)
    )
    clipped = jnp.clip(values, old_values - clip, old_values + clip)
    losses = jnp.maximum(jnp.square(values - returns), jnp.square(clipped - returns))
    return 0.5 * coefficient * arithmetic.sum_over_tokens(losses, token_weights)


def ppo(
    token_logprobs: jax.Array,
    old_token_logprobs: jax.Array,
    token_weights: jax.Array,
    token_advantages: jax.Array,
    token_values: jax.Array,
    old_token_values: jax.Array,
    token_returns: jax.Array,
    *,
    clip: float = 0.2,
    value_clip: float = 0.2,
    value_coefficient: float = 0.1,
) -> tuple[jax.Array, jax.Array]:
    """PPO's two losses: :func:`ppo_clip` and :func:`ppo_value`.

    Args:
      token_logprobs, old_token_logprobs, token_weights, token_advantages, clip: as of
        :func:`ppo_clip`.
      token_values, old_token_values, token_returns: `values`, `old_values`, `returns`
        of :func:`ppo_value`.
      value_clip: its `clip`.
      value_coefficient: its `coefficient`.

    Returns:
      ``[N]`` policy losses and ``[N]`` value losses, summed over tokens.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or a hyperparameter out of range.
    """
    check_positive(value_clip=value_clip)
    check_non_negative(value_coefficient=value_coefficient)
    policy_losses = ppo_clip(
        token_logprobs, old_token_logprobs, token_weights, token_advantages, clip=clip
    )
    value_losses = ppo_value(
        token_values,
        old_token_values,
        token_returns,
        token_weights,
        clip=value_clip,
        coefficient=value_coefficient,
    )
    return policy_losses, value_losses
