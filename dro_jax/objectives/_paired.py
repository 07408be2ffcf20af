"""Losses of two responses to one prompt, one preferred to the other."""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives.checks import check_per_trajectory, check_positive
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["DPO", "IPO", "dpo", "ipo"]


def dpo(
    chosen_policy_logprobs: jax.Array,
    rejected_policy_logprobs: jax.Array,
    chosen_reference_logprobs: jax.Array,
    rejected_reference_logprobs: jax.Array,
    *,
    beta: float = 0.1,
) -> jax.Array:
    """Direct preference optimisation: logistic regression on the preference.

    ``−log σ(β (ℓ_w − ℓ_l))``, w the chosen and l the rejected response of one prompt.

    Source: arXiv 2305.18290.

    Args:
      chosen_policy_logprobs: ``[N]`` float32 log π_θ(y_w|x), summed over tokens, nats.
      rejected_policy_logprobs: ``[N]`` log π_θ(y_l|x).
      chosen_reference_logprobs: ``[N]`` log π_ref(y_w|x); no gradient flows into it.
      rejected_reference_logprobs: ``[N]`` log π_ref(y_l|x); no gradient flows into it.
      beta: inverse temperature, per nat.

    Returns:
      ``[N]`` losses, one a pair, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    margins = _margins(
        chosen_policy_logprobs,
        rejected_policy_logprobs,
        chosen_reference_logprobs,
        rejected_reference_logprobs,
    )
    check_positive(beta=beta)
    return -jax.nn.log_sigmoid(beta * margins)


def ipo(
    chosen_policy_logprobs: jax.Array,
    rejected_policy_logprobs: jax.Array,
    chosen_reference_logprobs: jax.Array,
    rejected_reference_logprobs: jax.Array,
    *,
    tau: float,
) -> jax.Array:
    """Identity preference optimisation: the margin regressed on a constant.

    ``(ℓ_w − ℓ_l − 1/(2τ))²``, w the chosen and l the rejected response of one prompt.

    Source: arXiv 2310.12036. Sums over tokens as there; the length-averaged variant is
    this function of the four log-probabilities divided by their responses' lengths.

    Args:
      chosen_policy_logprobs: ``[N]`` float32 log π_θ(y_w|x), summed over tokens, nats.
      rejected_policy_logprobs: ``[N]`` log π_θ(y_l|x).
      chosen_reference_logprobs: ``[N]`` log π_ref(y_w|x); no gradient flows into it.
      rejected_reference_logprobs: ``[N]`` log π_ref(y_l|x); no gradient flows into it.
      tau: strength of the KL term, per nat; the margin sought is 1/(2τ) nats.

    Returns:
      ``[N]`` losses, one a pair, nat².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    margins = _margins(
        chosen_policy_logprobs,
        rejected_policy_logprobs,
        chosen_reference_logprobs,
        rejected_reference_logprobs,
    )
    check_positive(tau=tau)
    return jnp.square(margins - 1 / (2 * tau))


def _margins(chosen_policy, rejected_policy, chosen_reference, rejected_reference):
    """``ℓ_w − ℓ_l``."""
    check_per_trajectory(
        chosen_policy_logprobs=chosen_policy,
        rejected_policy_logprobs=rejected_policy,
        chosen_reference_logprobs=chosen_reference,
        rejected_reference_logprobs=rejected_reference,
    )
    chosen = arithmetic.log_ratios(chosen_policy, chosen_reference)
    return chosen - arithmetic.log_ratios(rejected_policy, rejected_reference)


@dataclasses.dataclass(frozen=True)
class DPO(Objective):
    """:func:`dpo` as an objective: the mean over all pairs of a group of one prompt.

    A pair is any two responses of different rewards. A group's loss stands at each of
    its responses; a group without a pair has loss 0.

    Attributes:
      beta: inverse temperature, per nat.
    """

    beta: float = 0.1
    needs: ClassVar[Needs] = Needs(reference=True, groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="no minimum without noise: tends to the best response",
        family="lists",
        temperature="beta",
    )

    def __post_init__(self):
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        loss = functools.partial(dpo, beta=self.beta)
        policy = trajectories.policy_logprobs
        reference = trajectories.reference_logprobs
        check_per_trajectory(policy_logprobs=policy, reference_logprobs=reference)
        implicit = self.beta * arithmetic.log_ratios(policy, reference)
        return over_pairs(loss, trajectories, policy, reference, implicit=implicit)


@dataclasses.dataclass(frozen=True)
class IPO(Objective):
    """:func:`ipo` as an objective, over pairs as :class:`DPO`.

    Attributes:
      tau: strength of the KL term, per nat.
      length_averaged: log-probabilities are means over tokens, as in some published
        code; the paper sums them.
    """

    tau: float = 0.1
    length_averaged: bool = False
    needs: ClassVar[Needs] = Needs(reference=True, groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="π_ref exp(P(y ≻ μ)/τ)",
        family="lists",
        temperature="tau",
        at=0.3,
        limit=limits.tilted_by_preference,
    )

    def __post_init__(self):
        check_positive(tau=self.tau)

    def __call__(self, trajectories: Trajectories) -> Losses:
        policy = trajectories.policy_logprobs
        reference = trajectories.reference_logprobs
        check_per_trajectory(policy_logprobs=policy, reference_logprobs=reference)
        if self.length_averaged:
            lengths = jnp.maximum(trajectories.lengths, 1.0)
            policy, reference = policy / lengths, reference / lengths
        loss = functools.partial(ipo, tau=self.tau)
        implicit = self.tau * arithmetic.log_ratios(policy, reference)
        return over_pairs(loss, trajectories, policy, reference, implicit=implicit)


def over_pairs(
    loss: Callable[..., jax.Array],
    trajectories: Trajectories,
    *sides: jax.Array,
    implicit: jax.Array,
) -> Losses:
    """The mean of a pair's loss over the pairs of each group, best response first.

    Args:
      loss: of the chosen and the rejected response's number of each side, in turn.
      trajectories: in groups; their rewards say which response is chosen.
      sides: ``[N]`` each, what the loss reads of a response.
      implicit: ``[N]`` implicit rewards, to be logged.

    Returns:
      ``[N]`` a group's loss and terms at each of its responses, 0 without a pair.
    """
    better, worse = np.triu_indices(trajectories.group_size, k=1)
    # Of empty places whatever stands there must not reach a gradient.
    implicit, rewards, *sides = (
        trajectories.by_group(arithmetic.keep_present(x, trajectories.weights))
        for x in (jax.lax.stop_gradient(implicit), trajectories.rewards, *sides)
    )
    weights = trajectories.by_group(trajectories.weights)
    decided = (weights[:, better] > 0) & (weights[:, worse] > 0)
    decided &= rewards[:, better] > rewards[:, worse]
    losses = loss(
        *(side[:, which].reshape(-1) for side in sides for which in (better, worse))
    ).reshape(decided.shape)
    margins = implicit[:, better] - implicit[:, worse]

    def group_mean(per_pair):
        count = jnp.maximum(jnp.sum(decided, axis=1, dtype=jnp.float32), 1.0)
        mean = jnp.sum(jnp.where(decided, per_pair, 0.0), axis=1) / count
        return jnp.repeat(mean, trajectories.group_size)

    terms = {
        "rewards/chosen": group_mean(implicit[:, better]),
        "rewards/rejected": group_mean(implicit[:, worse]),
        "rewards/margins": group_mean(margins),
        "rewards/accuracies": group_mean((margins > 0).astype(jnp.float32)),
        "pair_rate": group_mean(jnp.ones_like(margins)),
    }
    return Losses(policy=group_mean(losses), terms=terms)
