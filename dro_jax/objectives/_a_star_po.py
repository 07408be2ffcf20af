"""Optimal advantage regression: DRO, V estimated from samples of the reference.

Source: arXiv 2505.20686 (A*-PO). The paper draws its responses from the policy as it
stands; the regression is the same on any data, and here it is of what is logged, or of
what a run samples.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._fixed_value import FixedValue
from dro_jax.objectives._prompt_values import logged_values
from dro_jax.objectives.checks import check_per_trajectory, check_positive
from dro_jax.objectives.theory import Theory

__all__ = ["AStarPO", "a_star_po"]


def a_star_po(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    prompt_values: jax.Array,
    *,
    tau: float,
) -> jax.Array:
    """A*-PO: the implicit reward regressed on the optimal advantage.

    ``(τ ℓ − (r − V̂(x)))²``, which is twice :func:`dro` with V fixed at V̂, and
    :func:`rpo` times 2τ².

    Source: arXiv 2505.20686, its second stage; τ is the paper's β₂ and V̂
    :func:`sampled_values` at its β₁.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``; no gradient flows into them.
      prompt_values: ``[N]`` V̂(x), in units of reward; no gradient flows into them.
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
        prompt_values=prompt_values,
    )
    check_positive(tau=tau)
    rewards, values = jax.lax.stop_gradient((rewards, prompt_values))
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return jnp.square(arithmetic.residuals(rewards, values, tau, log_ratios))


@dataclasses.dataclass(frozen=True)
class AStarPO(FixedValue):
    """:func:`a_star_po` as an objective.

    Attributes:
      tau: strength of the KL term, reward per nat; the paper's β₂.
      value_tau: τ of V̂, the paper's β₁; None, `tau`. A larger one has less noise where
        samples are few: towards ∞ V̂ is their mean reward, towards 0 the largest one.
    """

    value_tau: float | None = None
    losses_of = staticmethod(a_star_po)
    theory: ClassVar[Theory] = Theory(
        converges_to="π* if V̂ is V*: of the reference's own responses, without noise",
        family="optimum",
        temperature="tau",
        limit=limits.optimum_of_logged_values,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.value_tau is not None:
            check_positive(value_tau=self.value_tau)

    @property
    def tau_of_values(self) -> float:
        """τ of V̂, in the paper's first stage."""
        return self.tau if self.value_tau is None else self.value_tau

    def values_of_prompts(
        self,
        reference_logprobs: jax.Array,
        rewards: jax.Array,
        groups: jax.Array,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """V̂ of a whole split, ``[R]`` each: what is logged counts as π_ref's samples."""
        return logged_values(rewards, groups, tau=self.tau_of_values, weights=weights)
