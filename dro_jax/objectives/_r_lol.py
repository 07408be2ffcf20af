"""Reward-LoL: A-LoL's policy gradient, of rewards in place of advantages.

Source: arXiv 2305.14718 (Baheti et al. 2024). ``w = π_θ(y|x) / π_ref(y|x)`` corrects
for the logging policy; it enters under the stop-gradient, clamped to
[1 − clip, 1 + clip].
"""

import dataclasses
from typing import ClassVar

import jax

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives._signed_rewards import RewardWeighted
from dro_jax.objectives.checks import check_non_negative, check_per_trajectory
from dro_jax.objectives.interface import Losses, Needs, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["RLoL", "r_lol"]


def r_lol(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    *,
    clip: float = 0.9,
) -> jax.Array:
    """Reward-LoL: the policy gradient of the logged rewards, importance weighted.

    ``−r · sg(clamp w) · log π_θ(y|x)``

    Source: arXiv 2305.14718, R-LoL.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      rewards: ``[N]``; no gradient flows into them.
      clip: w is clamped to [1 − clip, 1 + clip].

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or clip negative.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
    )
    check_non_negative(clip=clip)
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    weights = arithmetic.importance_weights(log_ratios, clip)
    return -jax.lax.stop_gradient(rewards) * weights * policy_logprobs


@dataclasses.dataclass(frozen=True)
class RLoL(RewardWeighted):
    """:func:`r_lol` as an objective.

    Attributes:
      clip: importance weights are clamped to [1 − clip, 1 + clip].
    """

    clip: float = 0.9
    needs: ClassVar[Needs] = Needs(reference=True, split_rewards=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ r, sharpened by the clipped π/π_ref",
        family="leftover",
        positive=True,
    )

    def __post_init__(self):
        super().__post_init__()
        check_non_negative(clip=self.clip)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = r_lol(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            self.shifted(trajectories),
            clip=self.clip,
        )
        weights = arithmetic.importance_weights(trajectories.log_ratios, self.clip)
        return Losses(policy=losses, terms={"importance_weight": weights})
