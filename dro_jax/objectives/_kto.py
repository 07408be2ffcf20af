"""Kahneman-Tversky Optimisation (Ethayarajh et al. 2024, arXiv 2402.01306)."""

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._unpaired import Labelled, label_terms
from dro_jax.objectives.checks import (
    check_labels,
    check_non_negative,
    check_one_length,
    check_per_trajectory,
    check_positive,
    check_scalars,
)
from dro_jax.objectives.interface import Losses, Needs, Trajectories, weighted_mean
from dro_jax.objectives.theory import Theory

__all__ = ["KTO", "kto", "kto_weights", "mismatched_kl"]


def kto(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    desirable: jax.Array,
    kl: jax.Array | float,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> jax.Array:
    """KTO: desirable responses above a reference point, undesirable ones below it.

    desirable: ``λ_D (1 − σ(βℓ − z))``; undesirable: ``λ_U (1 − σ(z − βℓ))``;
    ``z = β · sg max(0, kl)``, ``ℓ = log π_θ(y|x) − log π_ref(y|x)``.

    Source: arXiv 2402.01306. Published code takes z from matched pairs, or leaves it
    unclamped; here `kl` is to come from :func:`mismatched_kl`.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      desirable: ``[N]`` boolean.
      kl: ``[]`` estimate of KL(π‖π_ref), nats, not yet times beta; negative counts as
        0; no gradient flows into it.
      beta: inverse temperature, per nat.
      desirable_weight: λ_D; see :func:`kto_weights`.
      undesirable_weight: λ_U.

    Returns:
      ``[N]`` losses in [0, λ].

    Raises:
      TypeError, ValueError: wrong type, rank or shape, beta not positive, or a weight
        negative.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs, reference_logprobs=reference_logprobs
    )
    check_labels(desirable=desirable)
    check_one_length(policy_logprobs=policy_logprobs, desirable=desirable)
    check_scalars(kl=kl)
    check_positive(beta=beta)
    check_non_negative(
        desirable_weight=desirable_weight, undesirable_weight=undesirable_weight
    )
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    margins = beta * (log_ratios - jax.lax.stop_gradient(jnp.maximum(kl, 0.0)))
    weights = jnp.where(desirable, desirable_weight, undesirable_weight)
    # 1 − σ(m) = σ(−m), without the rounding of 1 − σ.
    return weights * jax.nn.sigmoid(jnp.where(desirable, -margins, margins))


def mismatched_kl(log_ratios: jax.Array, weights: jax.Array) -> jax.Array:
    """KTO's estimate of KL(π‖π_ref) from mismatched pairs.

    ``sg max(0, mean of ℓ(x_i, y_j))``, j ≠ i: responses scored under prompts that they
    do not answer.

    Source: arXiv 2402.01306, z / β.

    A mean over the pairs of the global batch: it does not depend on their order, nor on
    how they are sharded, so long as which pairs are formed does not either.

    Args:
      log_ratios: ``[N]`` float32 ℓ of the mismatched pairs, nats.
      weights: ``[N]`` 1 for a pair that is present, 0 for padding, whose ℓ is not read.

    Returns:
      ``[]`` estimate, nats; 0 without pairs.

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    check_per_trajectory(log_ratios=log_ratios, weights=weights)
    # A KL is never below 0; the mean of a few pairs may be.
    mean = weighted_mean(arithmetic.keep_present(log_ratios, weights), weights)
    return jax.lax.stop_gradient(jnp.maximum(mean, 0.0))


def kto_weights(
    num_desirable: int, num_undesirable: int, *, max_ratio: float = 4 / 3
) -> tuple[float, float]:
    """KTO's λ_D and λ_U for data of unequal classes.

    ``λ_D n_D / (λ_U n_U) ∈ [1, max_ratio]``: the smaller class is weighted up just as
    far as the nearest end of the interval; the other keeps weight 1.

    Source: arXiv 2402.01306, the advice on λ.

    Args:
      num_desirable: n_D, desirable trajectories in the data.
      num_undesirable: n_U, undesirable ones.
      max_ratio: upper end of the interval, 1 or more.

    Returns:
      λ_D, λ_U.

    Raises:
      ValueError: a class is empty (no weight balances it), or max_ratio is below 1.
    """
    if not (num_desirable > 0 and num_undesirable > 0):
        raise ValueError(
            f"KTO needs both classes, got {num_desirable} desirable and "
            f"{num_undesirable} undesirable trajectories; choose another threshold"
        )
    if not 1 <= max_ratio < float("inf"):
        raise ValueError(f"max_ratio must be a number of 1 or more, got {max_ratio}")
    ratio = num_desirable / num_undesirable
    if ratio < 1:
        return 1 / ratio, 1.0
    if ratio > max_ratio:
        return 1.0, ratio / max_ratio
    return 1.0, 1.0


@dataclasses.dataclass(frozen=True)
class KTO(Labelled):
    """:func:`kto` as an objective, its reference point from mismatched pairs.

    Attributes:
      beta: inverse temperature, per nat.
      class_weights: (λ_D, λ_U), or `balanced`: :func:`kto_weights` of the classes' sizes
        in the training data.
    """

    beta: float = 0.1
    class_weights: tuple[float, float] | Literal["balanced"] = "balanced"
    theory: ClassVar[Theory] = Theory(
        converges_to="good responses only; π_ref within them where μ = π_ref",
        family="labels",
        temperature="beta",
        settings={"threshold": "batch_mean", "class_weights": (1.0, 1.0)},
        limit=limits.good_by_square_root,
    )

    def __post_init__(self):
        super().__post_init__()
        check_positive(beta=self.beta)
        if self.class_weights != "balanced":
            desirable, undesirable = self.class_weights
            check_non_negative(
                desirable_weight=desirable, undesirable_weight=undesirable
            )

    @property
    def needs(self) -> Needs:
        """The reference, and mismatched pairs of the whole batch."""
        return dataclasses.replace(super().needs, whole_batch=True, mismatched=True)

    def fitted_to(self, rewards: np.ndarray) -> "KTO":
        """With the weights of classes as large as in `rewards`, ``[R]``.

        Raises:
          ValueError: a class is empty.
        """
        super().fitted_to(rewards)
        if self.class_weights != "balanced":
            return self
        desirable = int(np.sum(rewards > self.threshold_of(rewards)))
        weights = kto_weights(desirable, len(rewards) - desirable)
        return dataclasses.replace(self, class_weights=weights)

    def __call__(self, trajectories: Trajectories) -> Losses:
        if self.class_weights == "balanced":
            raise ValueError(
                "KTO.class_weights = 'balanced' must be fitted to the data first "
                "(KTO.fitted_to, as dro-jax train does): else give two numbers"
            )
        desirable = self.labels(trajectories)
        kl = mismatched_kl(
            trajectories.mismatched_log_ratios, trajectories.mismatched_weights
        )
        losses = kto(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            desirable,
            kl,
            beta=self.beta,
            desirable_weight=self.class_weights[0],
            undesirable_weight=self.class_weights[1],
        )
        terms = {"kl/mismatched": jnp.broadcast_to(kl, losses.shape)}
        return Losses(policy=losses, terms=label_terms(desirable) | terms)
