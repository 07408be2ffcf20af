"""Whether rewards of samples are in the units of the log that they are compared with."""

from typing import NamedTuple

import numpy as np

from dro_jax.data.record_ids import PromptRecords
from dro_jax.training.before.sampled_rewards import SampledRewards
from dro_jax.training.before.value_fit_data import is_judged

# Of the log's standard deviation. A reference that was cloned from the log answers as it
# does on average, and one that was aligned before is seldom so far from it.
_FAR = 0.5


class MeanRewards(NamedTuple):
    """Mean rewards of the responses to prompts, each of which counts once.

    Attributes:
      sampled: of the reference's samples.
      logged: of what was logged for the same prompts.
      deviation: the standard deviation of the rewards that were logged for them.
    """

    sampled: float
    logged: float
    deviation: float

    @property
    def are_far(self) -> bool:
        """Whether the two are so far apart that they may not be in one unit."""
        return abs(self.sampled - self.logged) > _FAR * self.deviation

    def text(self, *, advice: bool) -> str:
        """A line for people, with what to do where the two are far apart."""
        found = (
            f"mean reward {self.sampled:+.3f}, of what was logged {self.logged:+.3f}"
        )
        if not advice:
            return found
        return (
            f"{found}. Unless the reference answers so much better or worse than the "
            "log, as one that is hardly trained, the two are in other units: set "
            "REFERENCE_REWARD_SCALE and REFERENCE_REWARD_SHIFT (docs/values.md)"
        )


def mean_rewards(
    samples: SampledRewards, records: PromptRecords, judged_fraction: float = 0.0
) -> MeanRewards:
    """Compares samples with the log.

    Args:
      samples: of the split's prompts.
      records: the split's.
      judged_fraction: share of the prompts that have none.
    """
    sums, prompts, count = np.zeros(2), 0, 0
    first = second = 0.0
    for positions in records.by_prompt():
        own = positions[~is_judged(records.prompts[positions], judged_fraction)]
        hashes, numbers = np.unique(records.prompts[own], return_inverse=True)
        if not len(hashes):
            continue
        rewards = records.rewards[own].astype(np.float64)
        logged = np.bincount(numbers, rewards) / np.bincount(numbers)
        sampled = samples.of(hashes).mean(-1, dtype=np.float64)
        sums += sampled.sum(), logged.sum()
        prompts, count = prompts + len(hashes), count + len(own)
        first, second = first + rewards.sum(), second + np.square(rewards).sum()
    variance = second / max(count, 1) - (first / max(count, 1)) ** 2
    sampled, logged = (sums / max(prompts, 1)).tolist()
    return MeanRewards(sampled, logged, float(np.sqrt(max(variance, 0.0))))
