"""Losses of one response and one label or reward, through the log-ratio alone."""

import dataclasses
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives.checks import (
    check_labels,
    check_one_length,
    check_per_trajectory,
    check_positive,
    check_threshold,
)
from dro_jax.objectives.interface import (
    Losses,
    Needs,
    Objective,
    Trajectories,
    weighted_mean,
)
from dro_jax.objectives.theory import Theory

__all__ = ["UNA", "APOZero", "Labelled", "apo_zero", "desirable_labels", "una"]


def una(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    *,
    beta: float,
) -> jax.Array:
    """UNA: the implicit reward regressed on the reward.

    ``(βℓ − r)²``

    Source: arXiv 2408.15339. It is twice the DRO loss with V = 0 and τ = β: its
    minimiser is the optimum of the reward less KL only where V*(x) = 0.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``; no gradient flows into them.
      beta: reward per nat.

    Returns:
      ``[N]`` losses, reward².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
    )
    check_positive(beta=beta)
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return jnp.square(
        arithmetic.residuals(jax.lax.stop_gradient(rewards), 0.0, beta, log_ratios)
    )


def apo_zero(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    desirable: jax.Array,
    *,
    beta: float,
) -> jax.Array:
    """APO-zero: good responses rise above the reference, bad ones fall below it.

    desirable: ``1 − σ(βℓ)``; undesirable: ``σ(βℓ)``. It is :func:`kto` with z = 0.

    Source: arXiv 2408.06266.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      desirable: ``[N]`` boolean.
      beta: inverse temperature, per nat.

    Returns:
      ``[N]`` losses in [0, 1].

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    rewards = implicit_rewards(policy_logprobs, reference_logprobs, desirable, beta)
    return jax.nn.sigmoid(jnp.where(desirable, -rewards, rewards))


def desirable_labels(
    rewards: jax.Array, weights: jax.Array, threshold: float | str
) -> jax.Array:
    """Labels for the unpaired methods: rewards strictly above a threshold.

    Source: arXiv 2405.19107 labels by the mean of the minibatch.

    With ``'batch_mean'`` trajectories are coupled: pass the global batch. A batch of
    equal rewards then has no desirable trajectory.

    Args:
      rewards: ``[N]`` float32.
      weights: ``[N]`` 1 for a trajectory that is present, 0 for padding, whose reward
        is not read.
      threshold: a number, in units of reward, or ``'batch_mean'``.

    Returns:
      ``[N]`` boolean; False at padding.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or another threshold.
    """
    check_per_trajectory(rewards=rewards, weights=weights)
    check_threshold(threshold)
    present = weights > 0
    if threshold == "batch_mean":
        # About the least reward, so that the mean of equal rewards is exactly theirs.
        least = jnp.min(jnp.where(present, rewards, jnp.inf))
        above = jnp.where(present, rewards - least, 0.0)
        return above > weighted_mean(above, weights)
    return present & (rewards > threshold)


def implicit_rewards(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    desirable: jax.Array,
    beta: float,
) -> jax.Array:
    """``[N]`` βℓ, once the arguments of a loss of labels have been checked."""
    check_per_trajectory(
        policy_logprobs=policy_logprobs, reference_logprobs=reference_logprobs
    )
    check_labels(desirable=desirable)
    check_one_length(policy_logprobs=policy_logprobs, desirable=desirable)
    check_positive(beta=beta)
    return beta * arithmetic.log_ratios(policy_logprobs, reference_logprobs)


@dataclasses.dataclass(frozen=True)
class UNA(Objective):
    """:func:`una` as an objective.

    Attributes:
      beta: reward per nat.
    """

    beta: float = 1.0
    needs: ClassVar[Needs] = Needs(reference=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="DRO with V = 0: π* only where V* = 0",
        family="log-ratio",
        temperature="beta",
    )

    def __post_init__(self):
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = una(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.rewards,
            beta=self.beta,
        )
        residuals = arithmetic.residuals(
            trajectories.rewards, 0.0, self.beta, trajectories.log_ratios
        )
        return Losses(policy=losses, terms={"residual": residuals})


@dataclasses.dataclass(frozen=True)
class Labelled(Objective):
    """What the objectives of thumbs share: rewards become labels by a threshold.

    Attributes:
      threshold: rewards above it are desirable; a number, in units of the transformed
        reward, or `batch_mean`, as in the DRO paper, which couples trajectories.
    """

    threshold: float | Literal["batch_mean"] = 0.0

    def __post_init__(self):
        check_threshold(self.threshold)

    @property
    def needs(self) -> Needs:
        """The reference, the split's rewards; the whole batch, for its mean."""
        return Needs(
            reference=True,
            split_rewards=True,
            whole_batch=self.threshold == "batch_mean",
        )

    def fitted_to(self, rewards: np.ndarray) -> Self:
        """This objective, checked against the rewards ``[R]`` of a training split.

        Raises:
          ValueError: all of them lie on one side of the threshold.
        """
        desirable = int(np.sum(rewards > self.threshold_of(rewards)))
        if desirable in (0, len(rewards)):
            side = "above" if desirable else "at or below"
            raise ValueError(
                f"all {len(rewards)} rewards lie {side} the threshold {self.threshold}, "
                f"between {np.min(rewards):g} and {np.max(rewards):g}: a comparison of "
                "good with bad responses needs both. Choose another threshold"
            )
        return self

    def threshold_of(self, rewards: np.ndarray) -> float:
        """The threshold as a number; for `batch_mean`, the mean of `rewards`."""
        if self.threshold == "batch_mean":
            return float(np.mean(rewards))
        return float(self.threshold)

    def labels(self, trajectories: Trajectories) -> jax.Array:
        """``[N]`` boolean: which trajectories are desirable."""
        return desirable_labels(
            trajectories.rewards, trajectories.weights, self.threshold
        )


@dataclasses.dataclass(frozen=True)
class APOZero(Labelled):
    """:func:`apo_zero` as an objective.

    Attributes:
      beta: inverse temperature, per nat.
    """

    beta: float = 0.1
    theory: ClassVar[Theory] = Theory(
        converges_to="as KTO; its reference point is 0 by definition",
        family="labels",
        temperature="beta",
        settings={"threshold": "batch_mean"},
        limit=limits.good_by_square_root,
    )

    def __post_init__(self):
        super().__post_init__()
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        desirable = self.labels(trajectories)
        losses = apo_zero(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            desirable,
            beta=self.beta,
        )
        return Losses(policy=losses, terms=label_terms(desirable))


def label_terms(desirable: jax.Array) -> dict[str, jax.Array]:
    """What objectives of labels log of them."""
    return {"desirable_rate": desirable.astype(jnp.float32)}
