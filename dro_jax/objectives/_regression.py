"""Regression of the log-ratio on the closed-form optimum, its normaliser estimated.

Both know ``log Z(x)`` of ``π* = π_ref exp(r/τ) / Z`` without a value network: RPO from
the responses logged for the prompt, QRPO exactly, by a reward that is a quantile.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives.checks import (
    check_groups,
    check_one_length,
    check_per_trajectory,
    check_positive,
)
from dro_jax.objectives.interface import Losses, Needs, Trajectories


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
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    sums = jax.ops.segment_sum(
        jnp.exp(values - largest), owners, num_segments=values.shape[0]
    )[owners]
    return largest + jnp.log(jnp.where(sums > 0, sums, 1.0))


def qrpo(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    quantiles: jax.Array,
    *,
    beta: float,
) -> jax.Array:
    """Quantile-reward policy optimisation: the log-partition is known exactly.

    ``(q − β log Z − βℓ)²``, Z = :func:`qrpo_log_partition`.

    Source: arXiv 2507.08068, the quantile transform without further ones.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      quantiles: ``[N]`` in [0, 1], see :func:`quantiles`; no gradient flows into them.
      beta: quantile per nat.

    Returns:
      ``[N]`` losses, quantile².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        quantiles=quantiles,
    )
    check_positive(beta=beta)
    targets = jax.lax.stop_gradient(quantiles) - beta * qrpo_log_partition(beta)
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return jnp.square(targets - beta * log_ratios)


def qrpo_log_partition(beta: float) -> jax.Array:
    """log Z of a reward spread evenly over [0, 1].

    ``log ∫₀¹ e^{q/β} dq = log(β (e^{1/β} − 1)) = 1/β + log(β (1 − e^{−1/β}))``, the
    last form without overflow.

    Source: arXiv 2507.08068, which prints ``log β + 1/β``: good to e^{−1/β} only.

    Args:
      beta: quantile per nat.

    Returns:
      ``[]`` float32 log Z, nats.

    Raises:
      ValueError: beta not positive.
    """
    check_positive(beta=beta)
    inverse = 1 / jnp.asarray(beta, jnp.float32)
    return inverse + jnp.log(-jnp.expm1(-inverse) / inverse)


def quantiles(
    rewards: np.ndarray,
    groups: np.ndarray,
    reference_rewards: np.ndarray,
    reference_groups: np.ndarray,
) -> np.ndarray:
    """QRPO's rewards: what share of the reference's rewards at x is no greater than r.

    ``q_i = |{j : x_j = x_i, r_j ≤ r_i}| / |{j : x_j = x_i}|``, j over the reference's
    responses. They may be the logged responses themselves, if π_ref logged them; then
    ``q ≥ 1/n`` with n responses of x.

    Source: arXiv 2507.08068.

    Computed once from the data, on the host (NumPy): not to be traced.

    Args:
      rewards: ``[N]``.
      groups: ``[N]`` integers, equal for responses of one prompt.
      reference_rewards: ``[M]`` rewards of responses sampled from π_ref.
      reference_groups: ``[M]`` their prompts, numbered as in `groups`.

    Returns:
      ``[N]`` float32 NumPy array in [0, 1].

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or a prompt without reference
        rewards.
    """
    check_per_trajectory(rewards=rewards)
    check_per_trajectory(reference_rewards=reference_rewards)
    check_groups(groups=groups, reference_groups=reference_groups)
    check_one_length(rewards=rewards, groups=groups)
    check_one_length(
        reference_rewards=reference_rewards, reference_groups=reference_groups
    )
    groups, reference_groups = np.asarray(groups), np.asarray(reference_groups)
    in_order = np.sort(reference_groups)
    start = np.searchsorted(in_order, groups, side="left")
    end = np.searchsorted(in_order, groups, side="right")
    missing = np.unique(groups[start == end])
    if missing.size:
        raise ValueError(
            f"{missing.size} groups have no reference rewards, the first are "
            f"{missing[:5]}; a quantile needs at least one, better several"
        )
    # Sorted by group, then reward, the reference first where equal: the references
    # counted so far, less those of earlier groups, are those of no greater reward.
    from_reference = np.repeat([True, False], [len(reference_groups), len(groups)])
    both_rewards = np.concatenate([reference_rewards, rewards])
    both_groups = np.concatenate([reference_groups, groups])
    order = np.lexsort((~from_reference, both_rewards, both_groups))
    counts = np.empty(len(order), np.int64)
    counts[order] = np.cumsum(from_reference[order])
    at_most = counts[len(reference_groups) :] - start
    return (at_most / (end - start)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class RPO:
    """:func:`rpo` as an objective.

    Attributes:
      tau: strength of the KL term, reward per nat.
    """

    tau: float = 1.0
    needs: ClassVar[Needs] = Needs(reference=True, prompt_values=True)

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
        residuals = (
            trajectories.rewards
            - trajectories.prompt_values
            - self.tau * trajectories.log_ratios
        )
        return Losses(policy=losses, terms={"residual": residuals})


@dataclasses.dataclass(frozen=True)
class QRPO:
    """:func:`qrpo` as an objective.

    Attributes:
      beta: quantile per nat.
    """

    beta: float = 0.1
    needs: ClassVar[Needs] = Needs(reference=True, quantiles=True)

    def __post_init__(self):
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = qrpo(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.quantiles,
            beta=self.beta,
        )
        residuals = (
            trajectories.quantiles
            - self.beta * qrpo_log_partition(self.beta)
            - self.beta * trajectories.log_ratios
        )
        return Losses(policy=losses, terms={"residual": residuals})
