"""Value-free reward-aware optimisation: DRO, V estimated from the logged responses.

``log Z(x)`` of ``π* = π_ref exp(r/τ) / Z`` is taken from all that is logged for x.
Source: arXiv 2506.13702.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives.checks import (
    check_groups,
    check_one_length,
    check_per_trajectory,
    check_positive,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["RPO", "rpo", "rpo_prompt_values"]


def rpo(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    prompt_values: jax.Array,
    *,
    tau: float,
) -> jax.Array:
    """Value-free reward-aware optimisation: DRO with V from the logged responses.

    ``½ (ℓ − (r − V̂(x))/τ)²``, which is :func:`dro` over τ² with V̂ fixed.

    Source: arXiv 2506.13702.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``; no gradient flows into them.
      prompt_values: ``[N]`` V̂(x) of :func:`rpo_prompt_values`, in units of reward; no
        gradient flows into them.
      tau: strength of the KL term, reward per nat.

    Returns:
      ``[N]`` losses, nat².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
        prompt_values=prompt_values,
    )
    check_positive(tau=tau)
    targets = jax.lax.stop_gradient(rewards - prompt_values) / tau
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return 0.5 * jnp.square(log_ratios - targets)


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
    check_groups(groups=groups)
    check_one_length(rewards=rewards, groups=groups)
    check_positive(tau=tau)
    present = weights > 0
    # Numbers from 0 on, so that segments need no more places than there are rows;
    # `size` keeps the shape known to a trace.
    owners = jnp.unique(groups, return_inverse=True, size=groups.shape[0])[1]
    logprobs = jnp.where(present, jax.lax.stop_gradient(reference_logprobs), -jnp.inf)
    rewards = arithmetic.keep_present(jax.lax.stop_gradient(rewards), weights)
    if normalized:
        logprobs = logprobs - _logsumexp_of_group(logprobs, owners)
    values = tau * _logsumexp_of_group(logprobs + rewards / tau, owners)
    return jnp.where(present, values, 0.0)


def _logsumexp_of_group(values, owners):
    """``[N] -> [N]``: each entry's logsumexp over its group; 0 for a group of −inf."""
    largest = jax.ops.segment_max(values, owners, num_segments=values.shape[0])[owners]
    # Of padding alone the largest is −∞, and −∞ less itself is NaN.
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    sums = jax.ops.segment_sum(
        jnp.exp(values - largest), owners, num_segments=values.shape[0]
    )[owners]
    return largest + jnp.log(jnp.where(sums > 0, sums, 1.0))


@dataclasses.dataclass(frozen=True)
class RPO(Objective):
    """:func:`rpo` as an objective.

    Attributes:
      tau: strength of the KL term, reward per nat.
    """

    tau: float = 1.0
    needs: ClassVar[Needs] = Needs(reference=True, prompt_values=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="π*; under noise V̂ lies above V*",
        family="optimum",
        temperature="tau",
        limit=limits.optimum_without_noise,
    )

    def __post_init__(self):
        check_positive(tau=self.tau)

    def values_of_prompts(
        self, reference_logprobs: jax.Array, rewards: jax.Array, groups: jax.Array
    ) -> jax.Array:
        """:func:`rpo_prompt_values` of a whole split, ``[R]`` each."""
        return rpo_prompt_values(reference_logprobs, rewards, groups, tau=self.tau)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = rpo(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.rewards,
            trajectories.prompt_values,
            tau=self.tau,
        )
        residuals = arithmetic.residuals(
            trajectories.rewards,
            trajectories.prompt_values,
            self.tau,
            trajectories.log_ratios,
        )
        return Losses(policy=losses, terms={"residual": residuals})
