"""Regression of the log-ratio on a reward that is a quantile, its normaliser exact.

Quantiles are spread evenly over [0, 1] under π_ref, so ``log Z`` is one known number.
Source: arXiv 2507.08068.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

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

__all__ = ["QRPO", "qrpo", "qrpo_log_partition", "quantiles"]


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
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return jnp.square(_residuals(jax.lax.stop_gradient(quantiles), beta, log_ratios))


def _residuals(quantiles, beta, log_ratios):
    """``q − β log Z − βℓ``."""
    value = beta * qrpo_log_partition(beta)
    return arithmetic.residuals(quantiles, value, beta, log_ratios)


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
class QRPO(Objective):
    """:func:`qrpo` as an objective.

    Attributes:
      beta: quantile per nat.
    """

    beta: float = 0.1
    needs: ClassVar[Needs] = Needs(reference=True, quantiles=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="near π_ref exp(q/β), the optimum for quantiles",
        family="log-ratio",
        temperature="beta",
        at=0.3,
        limit=limits.tilted_by_quantile,
    )

    def __post_init__(self):
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = qrpo(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.quantiles,
            beta=self.beta,
        )
        residuals = _residuals(
            trajectories.quantiles, self.beta, trajectories.log_ratios
        )
        return Losses(policy=losses, terms={"residual": residuals})
