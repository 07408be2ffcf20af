"""Rewards below 0 where a loss is the log-likelihood times the reward.

With r < 0, −r log π falls without bound as π goes to 0: the response is pushed down for
ever, and the policy with it. Such objectives add a constant to the rewards, so that the
worst response of the data counts 0.
"""

import dataclasses
import math
from typing import Self

import jax
import numpy as np

from dro_jax.objectives.interface import Objective, Trajectories

__all__ = ["RewardWeighted"]


@dataclasses.dataclass(frozen=True)
class RewardWeighted(Objective):
    """What objectives share that weigh log π by the reward.

    Attributes:
      reward_shift: is added to each reward; None, minus the least reward of the
        training split where that is negative, else 0. 0.0 leaves rewards as they are.
    """

    reward_shift: float | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        if self.reward_shift is not None and not math.isfinite(self.reward_shift):
            raise ValueError(
                f"reward_shift must be a number or None, got {self.reward_shift}"
            )

    def fitted_to(self, rewards: np.ndarray) -> Self:
        """This objective with the shift that the rewards ``[R]`` of a split need.

        Raises:
          ValueError: all rewards are one negative number: shifted, all would count 0.
        """
        least = float(np.min(rewards))
        if self.reward_shift is not None or least >= 0:
            return self
        if least == np.max(rewards):
            # Shifted, each of them would count 0: no gradient, and no word of it.
            raise ValueError(
                f"all {len(rewards)} rewards are {least:g}: there is nothing to learn "
                "from them. Check the task's reward field"
            )
        return dataclasses.replace(self, reward_shift=-least)

    def told_of_fit(self, rewards: np.ndarray) -> str | None:
        """Why the rewards are shifted, and by how much."""
        return (
            f"{type(self).__name__} weighs log π by the reward, which has no bound "
            f"below 0, and these rewards reach down to {np.min(rewards):.4g}: "
            f"{self.reward_shift:.4g} is added to each, so that the worst counts 0. "
            "REWARD_SHIFT sets another number, 0.0 none"
        )

    def shifted(self, trajectories: Trajectories) -> jax.Array:
        """``[N]`` the rewards, shifted; as they are where nothing was fitted."""
        return trajectories.rewards + (self.reward_shift or 0.0)
