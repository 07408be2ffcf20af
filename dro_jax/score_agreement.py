"""How far scores of responses agree with what was logged for them."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SPEARMAN, PAIR_ACCURACY, NUM_PAIRS = "spearman", "pair_accuracy", "num_pairs"


class Pairs(NamedTuple):
    """Pairs of responses to one prompt whose rewards differ.

    Attributes:
      better: ``[P]`` int64, the place of the response with the higher reward.
      worse: ``[P]`` int64, that of the other.
    """

    better: np.ndarray
    worse: np.ndarray


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Scores against rewards.

    Attributes:
      pearson: their correlation; NaN where either is constant.
      spearman: that of their ranks, equal ones sharing their mean rank; NaN likewise.
      pair_accuracy: of the pairs of responses to one prompt whose rewards differ, the
        share that the scores order alike, equal scores counting half; NaN without any.
      num_pairs: so many they are.
      count: responses.
    """

    pearson: float
    spearman: float
    pair_accuracy: float
    num_pairs: int
    count: int


def agreement(
    scores: np.ndarray, rewards: np.ndarray, prompts: np.ndarray
) -> Agreement:
    """How N scores agree with N rewards.

    Args:
      scores: ``[N]``.
      rewards: ``[N]``.
      prompts: ``[N]``, equal for responses to one prompt.
    """
    from scipy import stats  # takes a second to import, of every command's start

    scores, rewards = (np.asarray(x, np.float64) for x in (scores, rewards))
    right, count = 0.0, 0
    for better, worse in pairs_of(rewards, prompts):
        gaps = scores[better] - scores[worse]
        right += np.sum(gaps > 0) + 0.5 * np.sum(gaps == 0)
        count += len(gaps)
    return Agreement(
        pearson=_correlation(scores, rewards),
        spearman=_correlation(stats.rankdata(scores), stats.rankdata(rewards)),
        pair_accuracy=float(right / count) if count else float("nan"),
        num_pairs=count,
        count=len(scores),
    )


def pairs_of(rewards: np.ndarray, prompts: np.ndarray) -> Iterator[Pairs]:
    """All pairs of responses to one prompt whose rewards differ, a part at a time.

    Args:
      rewards: ``[N]``.
      prompts: ``[N]``, equal for responses to one prompt.
    """
    order = np.argsort(prompts, kind="stable")
    behind = prompts[order]
    # The d-th part has each response with the d-th behind it among its prompt's, for all
    # prompts at once; those that have none so far behind fall out of all later parts.
    starts, distance = np.arange(len(order)), 1
    while len(starts):
        starts = starts[starts + distance < len(order)]
        starts = starts[behind[starts] == behind[starts + distance]]
        first, second = order[starts], order[starts + distance]
        gaps = rewards[first] - rewards[second]
        is_first = gaps[gaps != 0] > 0
        first, second = first[gaps != 0], second[gaps != 0]
        if len(first):
            yield Pairs(
                np.where(is_first, first, second), np.where(is_first, second, first)
            )
        distance += 1


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if not len(x) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
