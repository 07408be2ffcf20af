"""What each token of a sampled response was worth: its rewards, advantages, returns.

Source: arXiv 1506.02438 (GAE), 1909.08593 (the penalty by token).
"""

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives.checks import (
    check_fraction,
    check_non_negative,
    check_one_length,
    check_per_token,
    check_per_trajectory,
)
from dro_jax.objectives.interface import weighted_mean

__all__ = ["generalized_advantages", "ppo_token_rewards", "whiten"]


def ppo_token_rewards(
    rewards: jax.Array,
    old_token_logprobs: jax.Array,
    reference_token_logprobs: jax.Array,
    token_weights: jax.Array,
    *,
    beta: float = 0.05,
) -> jax.Array:
    """Rewards by token: the response's at its last token, and a KL penalty at each.

    ``−β (log π_old(y_t) − log π_ref(y_t)) + r · [t last]``

    Args:
      rewards: ``[N]``.
      old_token_logprobs: ``[N, T]`` float32 under the policy that sampled, nats.
      reference_token_logprobs: ``[N, T]`` under the reference, nats.
      token_weights: ``[N, T]`` 1 for the response's tokens, 0 for padding, whose
        numbers are not read.
      beta: strength of the penalty, reward per nat.

    Returns:
      ``[N, T]`` rewards, without gradient; 0 at padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta negative.
    """
    check_per_token(
        old_token_logprobs=old_token_logprobs,
        reference_token_logprobs=reference_token_logprobs,
        token_weights=token_weights,
    )
    check_per_trajectory(rewards=rewards)
    check_one_length(rewards=rewards, old_token_logprobs=old_token_logprobs)
    check_non_negative(beta=beta)
    present = token_weights > 0
    positions = jnp.where(present, jnp.arange(present.shape[1])[None], -1)
    last = present & (positions == jnp.max(positions, axis=1, keepdims=True))
    penalties = beta * arithmetic.log_ratios(
        old_token_logprobs, reference_token_logprobs
    )
    at_end = jnp.where(last, rewards[:, None], 0.0)
    return jax.lax.stop_gradient(
        at_end - arithmetic.keep_present(penalties, token_weights)
    )


def generalized_advantages(
    token_rewards: jax.Array,
    values: jax.Array,
    token_weights: jax.Array,
    *,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> tuple[jax.Array, jax.Array]:
    """Generalised advantage estimation, and the returns that the value is fitted to.

    ``δ_t = r_t + γ V_{t+1} − V_t``, ``A_t = δ_t + γλ A_{t+1}``, ``R_t = A_t + V_t``,
    with V and A zero after the response's last token.

    Source: arXiv 1506.02438.

    Args:
      token_rewards: ``[N, T]`` float32, see :func:`ppo_token_rewards`.
      values: ``[N, T]`` V before the token is chosen, in units of reward.
      token_weights: ``[N, T]`` 1 for the response's tokens, which are neighbours, 0 for
        padding, whose numbers are not read.
      gamma: discount, in [0, 1].
      lam: decay of the estimate's trace, in [0, 1].

    Returns:
      ``[N, T]`` advantages and ``[N, T]`` returns, without gradient; 0 at padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or gamma or lam not in [0, 1].
    """
    check_per_token(
        token_rewards=token_rewards, values=values, token_weights=token_weights
    )
    check_fraction(gamma=gamma, lam=lam)
    rewards = arithmetic.keep_present(token_rewards, token_weights)
    values = arithmetic.keep_present(values, token_weights)
    after_last = jnp.zeros_like(values[:, :1])
    next_values = jnp.concatenate([values[:, 1:], after_last], axis=1)
    deltas = arithmetic.keep_present(
        rewards + gamma * next_values - values, token_weights
    )

    def step(next_advantages, column):
        delta, present = column
        advantages = jnp.where(present, delta + gamma * lam * next_advantages, 0.0)
        return advantages, advantages

    columns = (deltas.T, (token_weights > 0).T)
    _, advantages = jax.lax.scan(step, deltas[:, 0] * 0.0, columns, reverse=True)
    advantages = jax.lax.stop_gradient(advantages.T)
    return advantages, jax.lax.stop_gradient(advantages + values)


def whiten(
    values: jax.Array, weights: jax.Array, *, keep_mean: bool = False
) -> jax.Array:
    """Values scaled to variance 1, and moved to mean 0 unless that is kept.

    ``(v − mean) / sqrt(var + 1e-8)``, the population variance over present entries.

    Couples trajectories: pass the global batch. PPO's published code whitens rewards
    with their mean kept, and advantages without.

    Args:
      values: ``[N, T]`` float32.
      weights: ``[N, T]`` 1 for an entry that is present, 0 for padding, whose value is
        not read.
      keep_mean: whether to add the mean back.

    Returns:
      ``[N, T]`` whitened values, without gradient; 0 at padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    check_per_token(values=values, weights=weights)
    values = jax.lax.stop_gradient(arithmetic.keep_present(values, weights))
    mean = weighted_mean(values, weights)
    variance = weighted_mean(jnp.square(values - mean), weights)
    whitened = (values - mean) * jax.lax.rsqrt(variance + 1e-8)
    return arithmetic.keep_present(whitened + mean if keep_mean else whitened, weights)
