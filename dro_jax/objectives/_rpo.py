"""Value-free reward-aware optimisation: DRO, V estimated from the logged responses.

``log Z(x)`` of ``π* = π_ref exp(r/τ) / Z`` is taken from all that is logged for x.
Source: arXiv 2506.13702.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._fixed_value import FixedValue
from dro_jax.objectives._prompt_values import rpo_prompt_values
from dro_jax.objectives.checks import check_per_trajectory, check_positive
from dro_jax.objectives.theory import Theory

__all__ = ["RPO", "rpo"]


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


@dataclasses.dataclass(frozen=True)
class RPO(FixedValue):
    """:func:`rpo` as an objective.

    Attributes:
      tau: strength of the KL term, reward per nat.
    """

    losses_of = staticmethod(rpo)
    theory: ClassVar[Theory] = Theory(
        converges_to="π*; under noise V̂ lies above V*",
        family="optimum",
        temperature="tau",
        limit=limits.optimum_without_noise,
    )

    def values_of_prompts(
        self,
        reference_logprobs: jax.Array,
        rewards: jax.Array,
        groups: jax.Array,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """:func:`rpo_prompt_values` of a whole split, ``[R]`` each.

        How often a response is logged changes nothing: π_ref says what it weighs.
        """
        return rpo_prompt_values(
            reference_logprobs, rewards, groups, tau=self.tau, weights=weights
        )
