"""Whether two runs are rewarded differently."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from dro_jax.errors import DataError
from dro_jax.evaluation.estimates import mean_estimates
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun
from dro_jax.evaluation.intervals import NUM_RESAMPLES, bootstrap_totals


@dataclasses.dataclass(frozen=True)
class RewardDifference:
    """How much more one run's responses are rewarded than another's.

    Attributes:
      first, second: the runs' labels.
      reward: its name.
      difference: mean of the first less that of the second, over prompts.
      p_value: how often chance alone gives so large a difference; None for one prompt.
      prompts: that both answered.
    """

    first: str
    second: str
    reward: str
    difference: Estimate
    p_value: float | None
    prompts: int


def reward_difference(
    first: EvaluatedRun,
    second: EvaluatedRun,
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
      first, second: the runs; a prompt's responses count as one, by their mean.
      reward: its name.
      num_resamples: at least 1.
      seed: of the bootstrap.

    Raises:
      DataError: no prompt was answered by both, or a response lacks the reward.
    """
    means = [_mean_rewards(run, reward) for run in (first, second)]
    shared = [prompt for prompt in means[0] if prompt in means[1]]
    if not shared:
        raise DataError(
            f"'{first.label}' and '{second.label}' have no prompt in common: evaluate "
            "both on the same task, split and prompts"
        )
    by_prompt = np.array([means[0][p] - means[1][p] for p in shared])
    (estimate,) = mean_estimates(
        {reward: by_prompt}, shared, num_resamples=num_resamples, seed=seed
    ).values()
    p_value = None
    if len(shared) > 1:
        totals = by_prompt[:, None]
        drawn = bootstrap_totals(totals, num_resamples=num_resamples, seed=seed)
        away = np.abs(drawn[:, 0] / len(shared) - estimate.value)
        # Equal up to rounding is equal: differences of like prompts are often one number.
        reached = np.sum(away >= abs(estimate.value) * (1 - 1e-9))
        p_value = float((1 + reached) / (1 + num_resamples))
    return RewardDifference(
        first.label, second.label, reward, estimate, p_value, len(shared)
    )


def reward_differences(
    runs: Sequence[EvaluatedRun], *, seed: int = 0
) -> list[RewardDifference]:
    """The difference in the first reward of all pairs of runs that have it.

    Args:
      runs: each is set against those that stand before it.
      seed: of the bootstraps.

    Raises:
      DataError: two runs have no prompt in common.
    """
    names = [name for run in runs for one in run.responses for name in one.rewards]
    if not names:
        return []
    having = [
        run
        for run in runs
        if run.responses and all(names[0] in one.rewards for one in run.responses)
    ]
    return [
        reward_difference(late, early, names[0], seed=seed)
        for early, late in itertools.combinations(having, 2)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values that hold for all comparisons of a table at once.

    Of m in rising order, the k-th is the largest of ``(m - i + 1) p_i`` for i ≤ k, at
    most 1: rejecting those up to 5% errs in any with probability 5% at most.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure",
    https://www.jstor.org/stable/4615733.

    Args:
      p_values: None where there is none; it stays so, and counts for nothing.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        found[place] = least
    return found


def _mean_rewards(run: EvaluatedRun, reward: str) -> dict[str, float]:
    by_prompt: dict[str, list[float]] = {}
    for one in run.responses:
        if reward not in one.rewards:
            raise DataError(
                f"a response of '{run.label}' to prompt {one.prompt_id} has no reward "
                f"'{reward}'"
            )
        by_prompt.setdefault(one.prompt_id, []).append(one.rewards[reward])
    return {prompt: float(np.mean(numbers)) for prompt, numbers in by_prompt.items()}
