"""Off-policy policy gradients that learn from good and bad responses apart."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._unpaired import Labelled, label_terms
from dro_jax.objectives.checks import (
    check_fraction,
    check_labels,
    check_non_negative,
    check_one_length,
    check_per_trajectory,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["PMPO", "TOPR", "pmpo", "topr"]


def topr(
    policy_logprobs: jax.Array, reference_logprobs: jax.Array, rewards: jax.Array
) -> jax.Array:
    """Tapered off-policy REINFORCE: bad responses fade as they become unlikely.

    r > 0: ``−r · log π``; r < 0: ``−sg(clip(π_θ/π_ref, 0, 1)) · r · log π``.

    Source: arXiv 2503.14286.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``, signed, any baseline already subtracted; no gradient flows into
        them.

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
    )
    rewards = jax.lax.stop_gradient(rewards)
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    # Held at 0 before exp: the ratio is at most 1, and never infinite on the way.
    ratios = jax.lax.stop_gradient(jnp.exp(jnp.minimum(log_ratios, 0.0)))
    return -jnp.where(rewards < 0, ratios, 1.0) * rewards * policy_logprobs


def pmpo(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    desirable: jax.Array,
    *,
    alpha: float,
    beta: float,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Preference-based MPO: good responses up, bad ones down, held by a KL term.

    The weighted mean of the losses over the batch is
    ``−α E₊ log π + (1−α) E₋ log π + β KL(π_ref‖π)``, E₊ and E₋ being the means over the
    desirable and the undesirable. A missing class adds nothing.

    Source: arXiv 2410.04166. Here the KL is estimated on the logged data, by the mean
    of ``−ℓ = log π_ref(y|x) − log π_θ(y|x)``, of gradient ``−∇ log π``: NLL of all
    responses. Value and gradient are unbiased where the data was sampled from
    π_ref; elsewhere the term holds the policy to the data in place of π_ref.

    Bounded below only if no response is pushed down more than the KL term holds it:
    β ≥ (1−α) / share of the undesirable in the data, 2 (1−α) where it is a half.

    Couples trajectories through the size of the classes: pass the global batch.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      desirable: ``[N]`` boolean.
      alpha: share of the desirable, in [0, 1].
      beta: strength of the KL term; 0 leaves it out.
      weights: ``[N]`` 1 for a trajectory that is present, 0 for padding; default 1.

    Returns:
      ``[N]`` losses, nats; average them with the same weights.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, alpha not in [0, 1], or beta
        negative.
    """
    if weights is None:
        weights = jnp.ones_like(policy_logprobs)
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        weights=weights,
    )
    check_labels(desirable=desirable)
    check_one_length(policy_logprobs=policy_logprobs, desirable=desirable)
    check_fraction(alpha=alpha)
    check_non_negative(beta=beta)
    shares = [
        jnp.sum(jnp.where(members, weights, 0.0)) for members in (desirable, ~desirable)
    ]
    # Over a class's mean stands the batch's: n/n₊ and n/n₋ turn one into the other.
    up, down = (sum(shares) / jnp.where(share > 0, share, 1.0) for share in shares)
    slopes = jnp.where(desirable, -alpha * up, (1 - alpha) * down)
    slopes = jax.lax.stop_gradient(slopes)
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return slopes * policy_logprobs - beta * log_ratios


@dataclasses.dataclass(frozen=True)
class TOPR(Objective):
    """:func:`topr` as an objective; rewards are signed, bad ones below 0."""

    needs: ClassVar[Needs] = Needs(reference=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ r₊", family="labels", limit=limits.good_by_reward
    )

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = topr(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.rewards,
        )
        return Losses(policy=losses)


@dataclasses.dataclass(frozen=True)
class PMPO(Labelled):
    """:func:`pmpo` as an objective.

    Attributes:
      alpha: share of the desirable, in [0, 1].
      beta: strength of the KL term.
    """

    alpha: float = 0.75
    beta: float = 1.0
    theory: ClassVar[Theory] = Theory(
        converges_to="μ (β + a for good, − b for bad)",
        family="labels",
        temperature="beta",
        settings={"threshold": "batch_mean"},
        limit=limits.pushed_apart,
    )

    def __post_init__(self):
        super().__post_init__()
        check_fraction(alpha=self.alpha)
        check_non_negative(beta=self.beta)

    @property
    def needs(self) -> Needs:
        """The reference, and the whole batch, for the sizes of the classes."""
        return dataclasses.replace(super().needs, whole_batch=True)

    def __call__(self, trajectories: Trajectories) -> Losses:
        desirable = self.labels(trajectories)
        losses = pmpo(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            desirable,
            alpha=self.alpha,
            beta=self.beta,
            weights=trajectories.weights,
        )
        return Losses(policy=losses, terms=label_terms(desirable))
