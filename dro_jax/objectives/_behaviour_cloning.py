"""Behaviour cloning: imitate the logged responses, all alike or weighted."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._signed_rewards import RewardWeighted
from dro_jax.objectives.checks import (
    check_fraction,
    check_one_length,
    check_per_token,
    check_per_trajectory,
    check_positive,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["AWR", "NLL", "RGold", "WeightedBC", "awr", "nll", "r_gold", "weighted_bc"]


def nll(policy_logprobs: jax.Array) -> jax.Array:
    """Negative log-likelihood of the response.

    ``−log π_θ(y|x) = Σ_t −log π_θ(y_t | x, y_<t)``, summed over tokens, never averaged.

    Source: the NLL (behaviour cloning) baseline of A-LoL, arXiv 2305.14718.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), nats.

    Returns:
      ``[N]`` losses, nats.

    Raises:
      TypeError, ValueError: wrong type or rank.
    """
    check_per_trajectory(policy_logprobs=policy_logprobs)
    return -policy_logprobs


def weighted_bc(policy_logprobs: jax.Array, rewards: jax.Array) -> jax.Array:
    """Weighted behaviour cloning: likelihood times reward.

    ``−r · log π_θ(y|x)``

    Source: the wBC baseline of A-LoL, arXiv 2305.14718.

    A negative reward lowers the response's likelihood, without bound.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      rewards: ``[N]``; no gradient flows into them.

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    check_per_trajectory(policy_logprobs=policy_logprobs, rewards=rewards)
    return -jax.lax.stop_gradient(rewards) * policy_logprobs


def r_gold(
    token_logprobs: jax.Array,
    token_weights: jax.Array,
    rewards: jax.Array,
    *,
    floor: float = 0.1,
) -> jax.Array:
    """Reward GOLD: each token weighted by its own probability under the policy.

    ``−r · Σ_t sg(max(π_θ(y_t), floor)) · log π_θ(y_t)``

    Source: the R-GOLD baseline of A-LoL, arXiv 2305.14718, after GOLD (2009.07839).

    Args:
      token_logprobs: ``[N, T]`` float32 log π_θ(y_t | x, y_<t), nats.
      token_weights: ``[N, T]`` 1 for the response's tokens, 0 for padding, whose
        log-probabilities are not read.
      rewards: ``[N]``; no gradient flows into them.
      floor: least weight of a token, in [0, 1]; 1 makes this :func:`weighted_bc`.

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or floor not in [0, 1].
    """
    check_per_token(token_logprobs=token_logprobs, token_weights=token_weights)
    check_per_trajectory(rewards=rewards)
    check_one_length(token_logprobs=token_logprobs, rewards=rewards)
    check_fraction(floor=floor)
    # Before exp: what stands at padding may be infinite, and 0 · ∞ is NaN.
    logprobs = arithmetic.keep_present(token_logprobs, token_weights)
    weights = jax.lax.stop_gradient(jnp.maximum(arithmetic.safe_exp(logprobs), floor))
    return -jax.lax.stop_gradient(rewards) * arithmetic.sum_over_tokens(
        weights * logprobs, token_weights
    )


def awr(
    policy_logprobs: jax.Array,
    advantages: jax.Array,
    *,
    beta: float,
    max_weight: float,
) -> jax.Array:
    """Advantage-weighted regression: likelihood times a capped exponential weight.

    ``−sg(min(exp(A/β), max_weight)) · log π_θ(y|x)``

    Source: arXiv 1910.00177 (AWR); with A = r it is reward-weighted regression.

    Negative advantages keep a small positive weight: nothing is pushed down.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      advantages: ``[N]`` r − V(x), signed; no gradient flows into them.
      beta: temperature, in units of reward.
      max_weight: the cap on exp(A/β).

    Returns:
      ``[N]`` losses, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta or max_weight not
        positive.
    """
    check_per_trajectory(policy_logprobs=policy_logprobs, advantages=advantages)
    check_positive(beta=beta, max_weight=max_weight)
    exponents = jax.lax.stop_gradient(advantages) / beta
    weights = jnp.minimum(arithmetic.safe_exp(exponents), max_weight)
    return -weights * policy_logprobs


@dataclasses.dataclass(frozen=True)
class AWR(Objective):
    """:func:`awr` as an objective.

    Attributes:
      beta: temperature, in units of reward.
      max_weight: the cap on exp(A/β).
    """

    beta: float = 1.0
    max_weight: float = 20.0
    needs: ClassVar[Needs] = Needs(advantages=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ exp(A/β): π* only where μ = π_ref, without noise",
        family="cloning",
        temperature="beta",
        settings={"max_weight": 1e9},
        limit=limits.weighted_exponentially,
    )

    def __post_init__(self):
        check_positive(beta=self.beta, max_weight=self.max_weight)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = awr(
            trajectories.policy_logprobs,
            trajectories.advantages,
            beta=self.beta,
            max_weight=self.max_weight,
        )
        return Losses(policy=losses, terms={"advantage": trajectories.advantages})


@dataclasses.dataclass(frozen=True)
class NLL(Objective):
    """:func:`nll` as an objective: no reference, no value, rewards unused."""

    needs: ClassVar[Needs] = Needs()
    theory: ClassVar[Theory] = Theory(
        converges_to="μ", family="cloning", limit=limits.logging
    )

    def __call__(self, trajectories: Trajectories) -> Losses:
        return Losses(policy=nll(trajectories.policy_logprobs))


@dataclasses.dataclass(frozen=True)
class WeightedBC(RewardWeighted):
    """:func:`weighted_bc` as an objective: no reference, no value."""

    needs: ClassVar[Needs] = Needs(split_rewards=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ r",
        family="cloning",
        limit=limits.weighted_by_reward,
        positive=True,
    )

    def __call__(self, trajectories: Trajectories) -> Losses:
        return Losses(
            policy=weighted_bc(trajectories.policy_logprobs, self.shifted(trajectories))
        )


@dataclasses.dataclass(frozen=True)
class RGold(RewardWeighted):
    """:func:`r_gold` as an objective; reads tokens.

    Attributes:
      floor: least weight of a token, in [0, 1].
    """

    floor: float = 0.1
    needs: ClassVar[Needs] = Needs(token_logprobs=True, split_rewards=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ r, sharpened towards likely tokens",
        family="cloning",
        positive=True,
    )

    def __post_init__(self):
        super().__post_init__()
        check_fraction(floor=self.floor)

    def __call__(self, trajectories: Trajectories) -> Losses:
        return Losses(
            policy=r_gold(
                trajectories.token_logprobs,
                trajectories.token_weights,
                self.shifted(trajectories),
                floor=self.floor,
            )
        )
