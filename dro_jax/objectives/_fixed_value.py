"""DRO with V given and not learnt: what RPO and A*-PO have in common as objectives.

Their losses differ by a factor, and their V̂ where it comes of what is logged.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives._prompt_values import sampled_values
from dro_jax.objectives.checks import check_positive
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories


@dataclasses.dataclass(frozen=True)
class FixedValue(Objective):
    """A loss of ``r − V̂(x) − τ ℓ``, V̂ the field `prompt_values`.

    Attributes:
      tau: strength of the KL term, reward per nat.
    """

    tau: float = 1.0
    needs: ClassVar[Needs] = Needs(reference=True, prompt_values=True)
    # Of policy's and reference's log-probabilities, rewards and V̂, and tau.
    losses_of: ClassVar[Callable[..., jax.Array]]

    def __post_init__(self):
        check_positive(tau=self.tau)

    @property
    def tau_of_values(self) -> float:
        """τ of V̂."""
        return self.tau

    def values_of_samples(self, rewards: jax.Array) -> jax.Array:
        """:func:`sampled_values`, ``[P, n] -> [P]``: samples of π_ref count alike."""
        return sampled_values(rewards, tau=self.tau_of_values)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = self.losses_of(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.rewards,
            trajectories.prompt_values,
            tau=self.tau,
        )
        residuals = arithmetic.residuals(
            trajectories.rewards,
            trajectories.prompt_values,
            self.tau,
            trajectories.log_ratios,
        )
        return Losses(policy=losses, terms={"residual": residuals})
