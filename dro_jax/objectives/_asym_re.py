"""Asymmetric REINFORCE: off-policy, with a baseline below the logged mean reward."""

import dataclasses
from typing import ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from dro_jax.objectives import limits
from dro_jax.objectives._prompt_values import mean_rewards
from dro_jax.objectives.checks import check_non_negative, check_per_trajectory
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["AsymRE", "Baseline", "asym_re"]

Baseline = Literal["prompt", "value"]


def asym_re(
    policy_logprobs: jax.Array, advantages: jax.Array, *, delta: float
) -> jax.Array:
    """Asymmetric REINFORCE: what beats a lowered baseline up, the rest down.

    ``−(r − (V − δ)) · log π_θ(y|x)``, V the mean reward of what is logged for x. No
    importance weights.

    Source: arXiv 2506.20520, whose δV is −δ. With δ > 0 the coefficients have a
    positive mean, and what is good outweighs what is bad; at 0 and below, the policy
    ends on one response or a few. Responses with r < V − δ are pushed down for ever:
    the loss has no lower bound there. δ above V − r of all is likelihood with weights
    (:func:`weighted_bc` at V − δ = 0), towards ∞ :func:`nll`.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      advantages: ``[N]`` r − V(x); no gradient flows into them.
      delta: how far below V the baseline lies, in units of reward.

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or delta negative.
    """
    check_per_trajectory(policy_logprobs=policy_logprobs, advantages=advantages)
    check_non_negative(delta=delta)
    return -(jax.lax.stop_gradient(advantages) + delta) * policy_logprobs


@dataclasses.dataclass(frozen=True)
class AsymRE(Objective):
    """:func:`asym_re` as an objective.

    Attributes:
      delta: how far below V the baseline lies, in units of reward (the paper's 0.1, for
        rewards of 0 and 1).
      baseline: what V is: `prompt`, the mean reward of the responses logged for the
        prompt, the paper's; `value`, V_ref, A-LoL's estimate, for prompts with one
        response.
    """

    delta: float = 0.1
    baseline: Baseline = "prompt"
    theory: ClassVar[Theory] = Theory(
        converges_to="μ (r − V + δ), V of μ; no minimum where that is negative",
        family="labels",
        settings={"delta": 1.0},
        limit=limits.weighted_above_baseline,
        positive=True,
    )

    def __post_init__(self):
        check_non_negative(delta=self.delta)
        known = get_args(Baseline)
        if self.baseline not in known:
            raise ValueError(
                f"baseline must be {' or '.join(map(repr, known))}, "
                f"got {self.baseline!r}"
            )

    @property
    def needs(self) -> Needs:
        """Values of prompts, or advantages."""
        of_prompt = self.baseline == "prompt"
        return Needs(prompt_values=of_prompt, advantages=not of_prompt)

    def values_of_prompts(
        self,
        reference_logprobs: jax.Array,
        rewards: jax.Array,
        groups: jax.Array,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """Each prompt's mean reward over a whole split, ``[R]``."""
        return mean_rewards(rewards, groups, weights=weights)

    def values_of_samples(self, rewards: jax.Array) -> jax.Array:
        """``[P, n] -> [P]``: their mean."""
        return jnp.mean(rewards, axis=1)

    def __call__(self, trajectories: Trajectories) -> Losses:
        if self.baseline == "prompt":
            advantages = trajectories.rewards - trajectories.prompt_values
        else:
            advantages = trajectories.advantages
        losses = asym_re(trajectories.policy_logprobs, advantages, delta=self.delta)
        return Losses(policy=losses, terms={"advantage": advantages})
