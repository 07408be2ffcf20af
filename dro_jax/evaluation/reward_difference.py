"""Whether two runs are rewarded differently."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dro_jax.errors import DataError
from dro_jax.evaluation.estimates import mean_estimates
from dro_jax.evaluation.evaluated_run import Estimate, SampledResponse
from dro_jax.evaluation.intervals import NUM_RESAMPLES, bootstrap_totals


@dataclasses.dataclass(frozen=True)
class RewardDifference:
    """How much more one run's responses are rewarded than another's.

    Attributes:
      difference: mean of the first less that of the second, over prompts.
      p_value: how often chance alone gives so large a difference; None for one prompt.
      prompts: that both answered.
    """

    difference: Estimate
    p_value: float | None
    prompts: int


def reward_difference(
    first: Sequence[SampledResponse],
    second: Sequence[SampledResponse],
    reward: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> RewardDifference:
    """Test whether two runs are rewarded differently, by the paired bootstrap.

    With d_p the difference of the runs' mean rewards for prompt p and d its mean over
    prompts, prompts are drawn with replacement; d* is the mean of a resample::

        p = (1 + number of resamples with |d* - d| ≥ |d|) / (1 + resamples)

    Source: Berg-Kirkpatrick, Burkett and Klein 2012, "An Empirical Investigation of
    Statistical Significance in NLP", https://aclanthology.org/D12-1091, two-sided.

    Args:
      first, second: the runs' responses; a prompt's samples count as one by their mean.
      reward: its name in :attr:`SampledResponse.rewards`.
      num_resamples: at least 1.
      seed: of the bootstrap.

    Raises:
      DataError: no prompt was answered by both, or a response lacks the reward.
    """
    means = [_mean_rewards(run, reward) for run in (first, second)]
    shared = [prompt for prompt in means[0] if prompt in means[1]]
    if not shared:
        raise DataError("two runs have no prompt in common")
    by_prompt = np.array([means[0][p] - means[1][p] for p in shared])
    (estimate,) = mean_estimates(
        {reward: by_prompt}, shared, num_resamples=num_resamples, seed=seed
    ).values()
    if len(shared) < 2:
        return RewardDifference(estimate, None, 1)
    drawn = bootstrap_totals(by_prompt[:, None], num_resamples=num_resamples, seed=seed)
    away = np.abs(drawn[:, 0] / len(shared) - estimate.value)
    # Equal up to rounding is equal: differences of like prompts are often one number.
    reached = np.sum(away >= abs(estimate.value) * (1 - 1e-9))
    return RewardDifference(
        estimate, float((1 + reached) / (1 + num_resamples)), len(shared)
    )


def _mean_rewards(
    responses: Sequence[SampledResponse], reward: str
) -> dict[str, float]:
    by_prompt: dict[str, list[float]] = {}
    for one in responses:
        if reward not in one.rewards:
            raise DataError(
                f"a response to prompt {one.prompt_id} has no reward '{reward}'"
            )
        by_prompt.setdefault(one.prompt_id, []).append(one.rewards[reward])
    return {prompt: float(np.mean(numbers)) for prompt, numbers in by_prompt.items()}
