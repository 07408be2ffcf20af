"""Any reward as a judge: the response with the higher score is better."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.judges.interface import Pair, Verdicts
from dro_jax.rewards.interface import Reward


@dataclasses.dataclass(frozen=True)
class RewardJudge:
    """Prefers the higher reward; y₁ ≻ y₂ ⇔ r(x, y₁) − r(x, y₂) > margin.

    Attributes:
      reward: a reward model, a classifier, a program; of several the first.
      margin: scores that differ by no more than this are a tie, in the reward's units.

    Raises:
      ConfigError: there is no reward, or the margin is negative.
    """

    reward: Reward | Sequence[Reward]
    margin: float = 0.0

    def __post_init__(self):
        if isinstance(self.reward, list | tuple):
            object.__setattr__(self, "reward", next(iter(self.reward), None))
        if self.reward is None or not callable(self.reward):
            raise ConfigError(
                "a reward is to judge, and none is given: set REWARD, for example by "
                "--gin_file=gin_configs/rewards/….gin"
            )
        if not 0 <= self.margin < float("inf"):
            raise ConfigError(
                f"JUDGE_MARGIN = {self.margin}: give 0 or a positive number, in the "
                "units of the reward"
            )

    @property
    def name(self) -> str:
        """The reward's."""
        return self.reward.name

    @property
    def fingerprint(self) -> str:
        """Of the reward and the margin."""
        text = f"reward judge 1\n{self.reward.fingerprint}\n{float(self.margin)!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, pairs: Sequence[Pair]) -> Verdicts:
        """A verdict on each pair; all are answered."""
        asked = {(p.prompt, p.first) for p in pairs} | {
            (p.prompt, p.second) for p in pairs
        }
        # Once each, in an order of their own: neither which of two comes first nor which
        # other pairs stand beside may change a batch, and so the last digits of a score.
        rows = sorted(asked)
        totals = np.zeros(0)
        if rows:
            totals = self.reward(*map(list, zip(*rows, strict=True))).total
        score = dict(zip(rows, totals.tolist(), strict=True))
        gains = np.array(
            [score[p.prompt, p.first] - score[p.prompt, p.second] for p in pairs],
            np.float64,
        )
        return verdicts_of(gains, self.margin)


def verdicts_of(gains: np.ndarray, margin: float = 0.0) -> Verdicts:
    """Verdicts on pairs of which the scores are known; all are answered.

    Args:
      gains: ``[N]`` the first response's score less the second's.
      margin: gains that are no larger are ties.
    """
    preferences = np.where(np.abs(gains) <= margin, 0.5, np.where(gains > 0, 1.0, 0.0))
    return Verdicts(preferences, np.ones(len(gains), bool))
