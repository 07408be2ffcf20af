"""Direct Reward Optimisation (Richemond et al. 2024, arXiv 2405.19107).

The problem ``max_π E[r] − τ KL(π‖π_ref)`` has the optimum
``π*(y|x) = π_ref(y|x) exp((r(x, y) − V*(x)) / τ)`` with
``V*(x) = τ log E_{y∼π_ref}[exp(r/τ)]``. Taking logs, the residual
``r − V(x) − τ ℓ`` with ``ℓ = log π_θ(y|x) − log π_ref(y|x)`` is zero everywhere at
(π*, V*), and only there when the data covers the support of π_ref.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives.checks import check_per_trajectory, check_positive
from dro_jax.objectives.interface import (
    Losses,
    Needs,
    Objective,
    Trajectories,
    weighted_mean,
)
from dro_jax.objectives.theory import Theory

__all__ = ["DRO", "DROP", "DROV", "dro", "dro_p", "dro_v"]


def _residuals(policy_logprobs, reference_logprobs, rewards, values, tau):
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return arithmetic.residuals(rewards, values, tau, log_ratios)


def dro(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    values: jax.Array,
    *,
    tau: float,
) -> jax.Array:
    """The joint DRO loss, differentiated for policy and value together.

    ``½ (r − V(x) − τ ℓ)²``

    Source: arXiv 2405.19107, the DRO loss.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``.
      values: ``[N]`` V(x), in units of reward.
      tau: strength of the KL term, reward per nat.

    Returns:
      ``[N]`` losses, reward².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
        values=values,
    )
    check_positive(tau=tau)
    return 0.5 * jnp.square(
        _residuals(policy_logprobs, reference_logprobs, rewards, values, tau)
    )


def dro_v(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    values: jax.Array,
    *,
    tau: float,
) -> tuple[jax.Array, jax.Array]:
    """DRO-V, the paper's practical algorithm: one loss for the policy, one for V.

    policy: ``(r − sg V − τ ℓ)² / (2τ)``; value: ``½ (r − V − τ sg ℓ)²``, sg being the
    stop-gradient.

    Source: arXiv 2405.19107, the DRO-V algorithm. The policy's gradient is that of
    :func:`dro` times 1/τ, so its quadratic term is (τ/2)∇ℓ²; the ½∇ℓ² printed there
    agrees at τ = 1 only.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``.
      values: ``[N]`` V(x), in units of reward.
      tau: strength of the KL term, reward per nat.

    Returns:
      ``[N]`` policy losses (reward·nat) and ``[N]`` value losses (reward²).

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    # Each loss holds the other's part still: added up, they train policy and value by
    # one residual each, and 1/τ weighs the policy's alone.
    stop = jax.lax.stop_gradient
    policy_losses = dro(
        policy_logprobs, reference_logprobs, rewards, stop(values), tau=tau
    )
    value_losses = dro(
        stop(policy_logprobs), reference_logprobs, rewards, values, tau=tau
    )
    return policy_losses / tau, value_losses


def dro_p(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    *,
    tau: float,
    weights: jax.Array | None = None,
) -> jax.Array:
    """DRO-P, policy only: half the variance of ``r − τ ℓ`` over the batch.

    ``½ (d_i − d̄)²`` with ``d = r − τ ℓ`` and d̄ its weighted batch mean, whose weighted
    mean over the batch is ``½ Var(d)`` (population variance, 1/n). The variance itself
    is differentiated, so the gradient is centred.

    Source: arXiv 2405.19107, DRO-P; the printed algorithm lacks the centring and ½.

    Couples trajectories: d̄ is over all that are passed, so pass the global batch.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``.
      tau: strength of the KL term, reward per nat.
      weights: ``[N]`` 1 for a trajectory that is present, 0 for padding; default 1.

    Returns:
      ``[N]`` losses, reward²; average them with the same weights.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
        weights=weights,
    )
    check_positive(tau=tau)
    differences = _residuals(policy_logprobs, reference_logprobs, rewards, 0.0, tau)
    return 0.5 * jnp.square(differences - weighted_mean(differences, weights))


@dataclasses.dataclass(frozen=True)
class _AnchoredByTau(Objective):
    """What the three objectives share.

    Attributes:
      tau: strength of the KL term, reward per nat (the paper: 1 for rewards of
        variance 1).
    """

    tau: float = 1.0

    def __post_init__(self):
        check_positive(tau=self.tau)


def _at_values(trajectories: Trajectories) -> tuple[jax.Array, ...]:
    """The arguments of `dro` and `dro_v`, one entry for each value."""
    return (
        trajectories.at_values(trajectories.policy_logprobs),
        trajectories.at_values(trajectories.reference_logprobs),
        trajectories.at_values(trajectories.rewards),
        trajectories.values,
    )


def _residuals_of(trajectories: Trajectories, values, tau: float) -> jax.Array:
    """``[N]``, a value a trajectory."""
    return _residuals(
        trajectories.policy_logprobs,
        trajectories.reference_logprobs,
        trajectories.rewards,
        values,
        tau,
    )


def _terms(trajectories: Trajectories, values: jax.Array, tau: float) -> dict:
    return {"residual": _residuals_of(trajectories, values, tau)}


@dataclasses.dataclass(frozen=True)
class DRO(_AnchoredByTau):
    """:func:`dro` as an objective: policy and value share one loss."""

    needs: ClassVar[Needs] = Needs(reference=True, value=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="π*, V → V*",
        family="optimum",
        temperature="tau",
        limit=limits.optimum,
    )

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = dro(*_at_values(trajectories), tau=self.tau)
        return Losses(
            policy=trajectories.over_values(losses),
            terms=_terms(trajectories, trajectories.trajectory_values, self.tau),
        )


@dataclasses.dataclass(frozen=True)
class DROV(_AnchoredByTau):
    """:func:`dro_v` as an objective.

    With several values a trajectory (one a token) the residual is taken at each value
    and averaged over the trajectory; this is our reading of the paper's "value per
    token".
    """

    needs: ClassVar[Needs] = Needs(reference=True, value=True)
    theory: ClassVar[Theory] = DRO.theory

    def __call__(self, trajectories: Trajectories) -> Losses:
        policy_losses, value_losses = dro_v(*_at_values(trajectories), tau=self.tau)
        return Losses(
            policy=trajectories.over_values(policy_losses),
            value=trajectories.over_values(value_losses),
            terms=_terms(trajectories, trajectories.trajectory_values, self.tau),
        )


@dataclasses.dataclass(frozen=True)
class DROP(_AnchoredByTau):
    """:func:`dro_p` as an objective: no value; the residual is logged around its mean."""

    needs: ClassVar[Needs] = Needs(reference=True, whole_batch=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="one V in place of V*(x): π* only where V* is one number",
        family="log-ratio",
        temperature="tau",
    )

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = dro_p(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.rewards,
            tau=self.tau,
            weights=trajectories.weights,
        )
        differences = _residuals_of(trajectories, 0.0, self.tau)
        mean = weighted_mean(differences, trajectories.weights)
        return Losses(policy=losses, terms=_terms(trajectories, mean, self.tau))
