"""Proximal policy optimisation with a KL penalty: the online baseline as an objective.

Source: arXiv 1707.06347 (PPO) and 1909.08593 (of language models). Its choices and
defaults are those of the latter's code (github.com/openai/lm-human-preferences) and of
TRL's `PPOTrainer`, where they agree.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._advantages import (
    generalized_advantages,
    ppo_token_rewards,
    whiten,
)
from dro_jax.objectives._ppo_losses import ppo
from dro_jax.objectives.checks import (
    check_fraction,
    check_non_negative,
    check_positive,
)
from dro_jax.objectives.interface import (
    Losses,
    Needs,
    Objective,
    Rollouts,
    Trajectories,
    weighted_mean,
)
from dro_jax.objectives.theory import Theory

__all__ = ["PPO"]

# The published controller's bound on how far the KL counts as off its target.
_MOST_OFF_TARGET = 0.2
_SCALE = "log_kl_scale"


@dataclasses.dataclass(frozen=True)
class PPO(Objective):
    """:func:`ppo` as an objective of responses that the policy samples.

    Once a round, `of_rollouts` makes token rewards, advantages and returns of all
    of its samples; then they are trained on in minibatches.

    With `kl_target` β follows the KL to the reference, a step's n trajectories at a time:
    ``β ← β (1 + clip(KL/kl_target − 1, −0.2, 0.2) · n / kl_horizon)``, KL the mean of
    log π_old(y|x) − log π_ref(y|x).

    Attributes:
      clip: π_θ/π_old of a token is clamped to [1 − clip, 1 + clip].
      value_clip: how far V may move from that of sampling, in units of reward.
      value_coefficient: weight of the value's loss; with a network of its own and an
        optimiser that scales gradients itself, it changes little.
      gamma: discount, in [0, 1].
      lam: λ of the generalised advantages, in [0, 1].
      beta: strength of the penalty, reward per nat; where it adapts, at the start.
      kl_target: nats a response that β is adapted to; None, β is fixed.
      kl_horizon: trajectories over which it adapts, counted as they are trained on: each
        epoch over a round counts them again.
      whiten_rewards: scale a round's token rewards, penalty included, to variance 1 and
        keep their mean. Each token's reward then moves by one constant, by which long
        responses gain or lose against short ones.
      whiten_advantages: scale a round's advantages to mean 0 and variance 1.
      token_mean: average over the batch's tokens, as published code does, and not sum
        over a response's. The two differ by one factor a batch, its mean length, which
        Adam and Adafactor undo and `max_grad_norm` does not.
    """

    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    beta: float = 0.05
    kl_target: float | None = None
    kl_horizon: float = 10_000
    whiten_rewards: bool = False
    whiten_advantages: bool = True
    token_mean: bool = False
    theory: ClassVar[Theory] = Theory(
        converges_to="π*, V → V* at every token, whatever is logged",
        family="online",
        temperature="beta",
        settings={"whiten_advantages": False},
        limit=limits.optimum,
    )

    def __post_init__(self):
        check_positive(
            clip=self.clip, value_clip=self.value_clip, kl_horizon=self.kl_horizon
        )
        check_non_negative(value_coefficient=self.value_coefficient, beta=self.beta)
        check_fraction(gamma=self.gamma, lam=self.lam)
        if self.kl_target is None:
            return
        check_positive(kl_target=self.kl_target)
        if isinstance(self.beta, (int, float)) and not self.beta:
            raise ValueError(
                "kl_target has no effect at beta = 0, which no factor changes: give beta "
                "a positive start, or leave kl_target out"
            )

    @property
    def needs(self) -> Needs:
        """Tokens, values and rollouts; the whole batch where a statistic of it is read."""
        adapts = self.kl_target is not None
        return Needs(
            reference=True,
            value=True,
            token_logprobs=True,
            token_values=True,
            rollouts=True,
            whole_batch=self.token_mean or adapts,
            running=(_SCALE,) if adapts else (),
        )

    def beta_of(self, running: dict[str, jax.Array] | None) -> jax.Array | float:
        """β of now.

        Args:
          running: what the run carries; where it carries nothing, β is that of the start.
        """
        if self.kl_target is None or not running:
            return self.beta
        return self.beta * arithmetic.safe_exp(running[_SCALE])

    def of_rollouts(self, rollouts: Rollouts) -> tuple[jax.Array, jax.Array]:
        weights = rollouts.token_weights * rollouts.weights[:, None]
        rewards = ppo_token_rewards(
            rollouts.rewards,
            rollouts.token_logprobs,
            rollouts.reference_token_logprobs,
            rollouts.token_weights,
            beta=self.beta_of(rollouts.running),
        )
        if self.whiten_rewards:
            rewards = whiten(rewards, weights, keep_mean=True)
        advantages, returns = generalized_advantages(
            rewards,
            rollouts.token_values,
            rollouts.token_weights,
            gamma=self.gamma,
            lam=self.lam,
        )
        if self.whiten_advantages:
            advantages = whiten(advantages, weights)
        return advantages, returns

    def __call__(self, trajectories: Trajectories) -> Losses:
        policy_losses, value_losses = ppo(
            trajectories.token_logprobs,
            trajectories.old_token_logprobs,
            trajectories.token_weights,
            trajectories.token_advantages,
            trajectories.token_values,
            trajectories.old_token_values,
            trajectories.token_returns,
            clip=self.clip,
            value_clip=self.value_clip,
            value_coefficient=self.value_coefficient,
        )
        scale = 1 / _mean_length(trajectories) if self.token_mean else 1.0
        return Losses(
            policy=scale * policy_losses,
            value=scale * value_losses,
            terms=self._terms(trajectories),
            running=self._running(trajectories),
        )

    def _running(self, trajectories: Trajectories) -> dict[str, jax.Array]:
        if self.kl_target is None or trajectories.running is None:
            return {}
        scale = trajectories.running[_SCALE]
        if trajectories.held_out:
            return {_SCALE: scale}
        weights = trajectories.weights
        kl = weighted_mean(trajectories.old_log_ratios, weights)
        off = jnp.clip(kl / self.kl_target - 1, -_MOST_OFF_TARGET, _MOST_OFF_TARGET)
        # At most a whole horizon at once, where a batch is larger.
        share = jnp.minimum(jnp.sum(weights) / self.kl_horizon, 1.0)
        return {_SCALE: scale + jnp.log1p(off * share)}

    def _terms(self, trajectories: Trajectories) -> dict[str, jax.Array]:
        """What people look at: means over a trajectory's tokens, and sums in nats."""
        t = jax.lax.stop_gradient(trajectories)
        log_ratios = t.token_logprobs - t.old_token_logprobs
        ratios = arithmetic.safe_exp(log_ratios)
        near = t.old_token_values + jnp.clip(
            t.token_values - t.old_token_values, -self.value_clip, self.value_clip
        )
        own, held = (
            jnp.abs(values - t.token_returns) for values in (t.token_values, near)
        )
        beta = jnp.broadcast_to(jnp.float32(self.beta_of(t.running)), t.rewards.shape)
        per_token = {
            "importance_weight": ratios,
            "importance_weight/clip_fraction": self._is_clipped(
                ratios, t.token_advantages
            ),
            "kl/old": 0.5 * jnp.square(log_ratios),
            "value/clip_fraction": held > own,
            "advantage": t.token_advantages,
            "return": t.token_returns,
        }
        lengths = jnp.maximum(jnp.sum(t.token_weights, axis=-1), 1.0)
        found = {
            name: arithmetic.sum_over_tokens(x.astype(jnp.float32), t.token_weights)
            / lengths
            for name, x in per_token.items()
        }
        old = arithmetic.sum_over_tokens(t.old_token_logprobs, t.token_weights)
        return found | {"entropy": -old, "kl_coefficient": beta}

    def _is_clipped(self, ratios: jax.Array, advantages: jax.Array) -> jax.Array:
        """Where the clamp holds, and the token has no gradient."""
        above = (ratios > 1 + self.clip) & (advantages > 0)
        below = (ratios < 1 - self.clip) & (advantages < 0)
        return above | below


def _mean_length(trajectories: Trajectories) -> jax.Array:
    """``[]`` response tokens of a trajectory, over the batch."""
    lengths = jnp.sum(trajectories.token_weights, axis=-1)
    mean = weighted_mean(lengths, trajectories.weights)
    return jax.lax.stop_gradient(jnp.maximum(mean, 1.0))
