"""Soft Q-learning without a network for Q: the policy and one value say what Q is.

In the Markov decision process whose states are a prompt and the tokens so far, the
optimum of ``E[r] − β KL(π‖π_ref)`` is where, at each token,
``V(s_t) = r_t − β ℓ_t + V(s_{t+1})`` with ``ℓ_t = log π_θ(y_t|s_t) − log π_ref(y_t|s_t)``
(the soft Bellman equation), V being 0 after the last token. Summed over a whole response
this is DRO's ``r − V(x) − β ℓ = 0``; summed from a token on, it is OREO's.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives.checks import (
    check_non_negative,
    check_one_length,
    check_per_token,
    check_per_trajectory,
    check_positive,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["OREO", "TBRM", "oreo", "tbrm"]


def tbrm(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    values: jax.Array,
    *,
    beta: float,
) -> jax.Array:
    """Trajectory Bellman residual minimisation: the policy's logits are Q.

    ``(ℓ + V_θ(x) − r/β)²``, ``V_θ(x) = log Σ_a exp logit_θ(x, a)``: the square of
    ``Σ_t [Q(s_t, y_t) − r_t/β − log π_ref(y_t|s_t) − V_θ(s_{t+1})]``, in which all values
    but the first cancel. It is :func:`dro` with V = β V_θ, times 2/β², differentiated for
    policy and value together: with logits as Q they are one network.

    Source: arXiv 2505.15311, the TBRM loss (its form above as arXiv 2603.23355 restates
    it). Nothing says that V_θ is near V*/β at the start: unless it is, the first steps
    move the policy even where all rewards are 0.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``; no gradient flows into them.
      values: ``[N]`` V_θ(x), nats: the logsumexp of the logits of the first token. A
        constant taken from it moves the logits by as much, and the optimum not at all.
      beta: strength of the KL term, reward per nat.

    Returns:
      ``[N]`` losses, nat².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
        values=values,
    )
    check_positive(beta=beta)
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return jnp.square(log_ratios + values - jax.lax.stop_gradient(rewards) / beta)


def oreo(
    token_logprobs: jax.Array,
    reference_token_logprobs: jax.Array,
    token_weights: jax.Array,
    rewards: jax.Array,
    token_values: jax.Array,
    *,
    beta: float,
    kl_weight: float = 0.01,
) -> tuple[jax.Array, jax.Array]:
    """OREO: the soft Bellman equation from every token on, a value at each.

    policy: ``mean_t (sg V_t − r + β ℓ_t + sg β Σ_{i>t} ℓ_i)² + kl_weight · mean_t KL_t``;
    value: ``mean_t (V_t − r + sg β Σ_{i≥t} ℓ_i)²``; means over the response's tokens. The
    stop-gradient of later tokens gives each token's the same scale.

    Source: arXiv 2412.16145, equations 8 and 9, the reward at the last token. KL_t is
    estimated from the logged token alone, ``exp(−ℓ_t) + ℓ_t − 1``, as the authors' code
    does unless it is told to sum over the vocabulary, which the paper's runs did.

    Args:
      token_logprobs: ``[N, T]`` float32 log π_θ(y_t | x, y_<t), nats.
      reference_token_logprobs: ``[N, T]`` under the reference; no gradient flows into it.
      token_weights: ``[N, T]`` 1 for the response's tokens, 0 for padding, whose
        numbers are not read.
      rewards: ``[N]`` of whole responses; no gradient flows into them.
      token_values: ``[N, T]`` V(x, y_<t) before the token is chosen, in units of reward.
      beta: strength of the KL term, reward per nat.
      kl_weight: α, of the penalty that holds each token to the reference.

    Returns:
      ``[N]`` policy losses and ``[N]`` value losses, reward².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, beta not positive, or kl_weight
        negative.
    """
    check_per_token(
        token_logprobs=token_logprobs,
        reference_token_logprobs=reference_token_logprobs,
        token_weights=token_weights,
        token_values=token_values,
    )
    check_per_trajectory(rewards=rewards)
    check_one_length(rewards=rewards, token_logprobs=token_logprobs)
    check_positive(beta=beta)
    check_non_negative(kl_weight=kl_weight)
    stop = jax.lax.stop_gradient
    ratios = arithmetic.keep_present(
        arithmetic.log_ratios(token_logprobs, reference_token_logprobs), token_weights
    )
    values = arithmetic.keep_present(token_values, token_weights)
    onward = stop(_from_each_on(ratios))
    # This token's own log-ratio, and those of later tokens as numbers.
    own = ratios + (onward - stop(ratios))
    rewards = stop(rewards)[:, None]
    residuals = stop(values) - rewards + beta * own
    penalties = arithmetic.safe_exp(-ratios) + ratios - 1
    policy_losses = jnp.square(residuals) + kl_weight * penalties
    value_losses = jnp.square(values - rewards + beta * onward)
    return (
        _mean_over_tokens(policy_losses, token_weights),
        _mean_over_tokens(value_losses, token_weights),
    )


def _from_each_on(per_token):
    """``[N, T] -> [N, T]``: Σ over this entry and those behind it."""
    return jnp.cumsum(per_token[:, ::-1], axis=1)[:, ::-1]


def _mean_over_tokens(per_token, token_weights):
    lengths = jnp.maximum(jnp.sum(token_weights, axis=-1), 1.0)
    return arithmetic.sum_over_tokens(per_token, token_weights) / jax.lax.stop_gradient(
        lengths
    )


@dataclasses.dataclass(frozen=True)
class TBRM(Objective):
    """:func:`tbrm` as an objective.

    Attributes:
      beta: strength of the KL term, reward per nat (the paper: 0.002, for rewards of 0
        and 1 and responses of 2,000 tokens).
    """

    beta: float = 1.0
    needs: ClassVar[Needs] = Needs(reference=True, value=True, logits_value=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="π*, V → V*/β",
        family="optimum",
        temperature="beta",
        limit=limits.optimum,
    )

    def __post_init__(self):
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = tbrm(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.rewards,
            trajectories.values,
            beta=self.beta,
        )
        residuals = arithmetic.residuals(
            trajectories.rewards,
            self.beta * trajectories.trajectory_values,
            self.beta,
            trajectories.log_ratios,
        )
        return Losses(policy=losses, terms={"residual": residuals})


@dataclasses.dataclass(frozen=True)
class OREO(Objective):
    """:func:`oreo` as an objective; reads tokens and a value at each.

    Attributes:
      beta: strength of the KL term, reward per nat (the paper: 0.03, for rewards of 0
        and 1).
      kl_weight: α of the penalty that holds each token to the reference (the paper:
        0.01); 0 leaves the optimum where theory has it.
    """

    beta: float = 1.0
    kl_weight: float = 0.01
    needs: ClassVar[Needs] = Needs(
        reference=True, value=True, token_logprobs=True, token_values=True
    )
    theory: ClassVar[Theory] = Theory(
        converges_to="π*, V → V* at every token",
        family="optimum",
        temperature="beta",
        settings={"kl_weight": 0.0},
        limit=limits.optimum,
    )

    def __post_init__(self):
        check_positive(beta=self.beta)
        check_non_negative(kl_weight=self.kl_weight)

    def __call__(self, trajectories: Trajectories) -> Losses:
        policy_losses, value_losses = oreo(
            trajectories.token_logprobs,
            trajectories.reference_token_logprobs,
            trajectories.token_weights,
            trajectories.rewards,
            trajectories.token_values,
            beta=self.beta,
            kl_weight=self.kl_weight,
        )
        # At a policy and values that agree, every token's residual is 0.
        residuals = jnp.sqrt(jax.lax.stop_gradient(value_losses))
        return Losses(
            policy=policy_losses, value=value_losses, terms={"residual": residuals}
        )
