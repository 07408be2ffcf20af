"""Binary classifier optimisation (Jung et al. 2024, arXiv 2404.04656)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives._unpaired import Labelled, implicit_rewards, label_terms
from dro_jax.objectives.checks import (
    check_labels,
    check_one_length,
    check_per_trajectory,
    check_positive,
    check_scalars,
)
from dro_jax.objectives.interface import Losses, Needs, Trajectories, weighted_mean
from dro_jax.objectives.theory import Theory

__all__ = ["BCO", "bco", "bco_shift"]


def bco(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    desirable: jax.Array,
    shift: jax.Array | float,
    *,
    beta: float,
) -> jax.Array:
    """Binary classifier optimisation: logistic regression on the implicit reward.

    desirable: ``−log σ(βℓ − δ)``; undesirable: ``−log σ(−(βℓ − δ))``.

    Source: arXiv 2404.04656.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      desirable: ``[N]`` boolean.
      shift: ``[]`` δ, on the scale of βℓ: the running mean of :func:`bco_shift`; no
        gradient flows into it.
      beta: inverse temperature, per nat.

    Returns:
      ``[N]`` losses, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    check_scalars(shift=shift)
    rewards = implicit_rewards(policy_logprobs, reference_logprobs, desirable, beta)
    margins = rewards - jax.lax.stop_gradient(shift)
    return -jax.nn.log_sigmoid(jnp.where(desirable, margins, -margins))


def bco_shift(
    log_ratios: jax.Array, desirable: jax.Array, weights: jax.Array, *, beta: float
) -> jax.Array:
    """One batch's δ of BCO: halfway between the classes' mean implicit rewards.

    ``sg ½ (E₊[βℓ] + E₋[βℓ])``, the means over the desirable and the undesirable.

    Source: arXiv 2404.04656. Published code takes the mean of all βℓ, which agrees
    where the classes are of one size.

    Couples trajectories: pass the global batch. Where a class is missing its mean is
    unknown, and the other's alone is returned; where both are, 0.

    Args:
      log_ratios: ``[N]`` float32 ℓ = log π_θ(y|x) − log π_ref(y|x), nats.
      desirable: ``[N]`` boolean.
      weights: ``[N]`` 1 for a trajectory that is present, 0 for padding, whose ℓ is
        not read.
      beta: inverse temperature, per nat.

    Returns:
      ``[]`` δ, on the scale of βℓ.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    check_per_trajectory(log_ratios=log_ratios, weights=weights)
    check_labels(desirable=desirable)
    check_one_length(log_ratios=log_ratios, desirable=desirable)
    check_positive(beta=beta)
    log_ratios = arithmetic.keep_present(log_ratios, weights)
    # A missing class has the mean 0 and does not count.
    total, classes = 0.0, 0.0
    for members in (desirable, ~desirable):
        members = jnp.where(members, weights, 0.0)
        total += weighted_mean(log_ratios, members)
        classes += jnp.where(jnp.sum(members) > 0, 1.0, 0.0)
    return jax.lax.stop_gradient(beta * total / jnp.maximum(classes, 1.0))


@dataclasses.dataclass(frozen=True)
class BCO(Labelled):
    """:func:`bco` as an objective; its shift is the mean of all batches' so far.

    Held-out trajectories are judged by the run's shift as it stands. Without a run that
    carries it, the shift is the batch's own.

    Attributes:
      beta: inverse temperature, per nat.
    """

    beta: float = 0.1
    theory: ClassVar[Theory] = Theory(
        converges_to="no minimum: tends to good responses only",
        family="labels",
        temperature="beta",
        settings={"threshold": "batch_mean"},
    )

    def __post_init__(self):
        super().__post_init__()
        check_positive(beta=self.beta)

    @property
    def needs(self) -> Needs:
        """The reference, the whole batch, and the shift that the run carries."""
        return dataclasses.replace(
            super().needs, whole_batch=True, running=("shift", "batches")
        )

    def __call__(self, trajectories: Trajectories) -> Losses:
        check_per_trajectory(policy_logprobs=trajectories.policy_logprobs)
        desirable = self.labels(trajectories)
        shift = bco_shift(
            trajectories.log_ratios, desirable, trajectories.weights, beta=self.beta
        )
        running = {}
        if trajectories.running is not None:
            batches = trajectories.running["batches"] + 1
            before = trajectories.running["shift"]
            # Judged by what the run carries; before its first step it carries nothing.
            if trajectories.held_out:
                shift = jnp.where(batches > 1, before, shift)
            else:
                # The mean of all so far without their sum, to which, once it is large,
                # float32 would add nothing.
                shift = before + (shift - before) / batches
                running = {"shift": shift, "batches": batches}
        losses = bco(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            desirable,
            shift,
            beta=self.beta,
        )
        terms = {"shift": jnp.broadcast_to(shift, losses.shape)}
        return Losses(
            policy=losses, terms=label_terms(desirable) | terms, running=running
        )
