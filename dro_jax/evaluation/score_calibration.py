"""Whether scores mean what they say: against rewards, and as odds of preferences."""

import dataclasses
from typing import Any

import numpy as np

from dro_jax.score_agreement import Agreement, agreement, pairs_of

_BINS = 10


@dataclasses.dataclass(frozen=True)
class ScoreBin:
    """Responses of like scores.

    Attributes:
      low, high: the least and the largest score among them.
      count: so many they are.
      mean_score: their mean score.
      mean_reward: their mean reward.
      standard_error: of that; NaN of one response.
    """

    low: float
    high: float
    count: int
    mean_score: float
    mean_reward: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class PreferenceBin:
    """Pairs of responses to one prompt, of like predicted odds.

    Attributes:
      low, high: limits of σ(difference of the scores), the higher score first.
      count: so many pairs they are.
      mean_probability: its mean.
      share_right: the share of pairs whose higher score has the higher reward, equal
        scores counting half.
    """

    low: float
    high: float
    count: int
    mean_probability: float
    share_right: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Scores against rewards.

    Attributes:
      agreement: correlations and pair accuracy.
      scores: responses in tenths by their score.
      preferences: pairs of different rewards, in tenths of [½, 1]; those with pairs.
      preference_error: the mean distance of predicted probability and share right over
        pairs, each bin's own; NaN without pairs.
    """

    agreement: Agreement
    scores: tuple[ScoreBin, ...]
    preferences: tuple[PreferenceBin, ...]
    preference_error: float

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it, with what is not a number as None."""
        return _without_nan(dataclasses.asdict(self))


def calibration(
    scores: np.ndarray, rewards: np.ndarray, prompts: np.ndarray
) -> Calibration:
    """How N scores are calibrated.

    Args:
      scores: ``[N]``.
      rewards: ``[N]``.
      prompts: ``[N]``, equal for responses to one prompt.
    """
    scores, rewards = (np.asarray(x, np.float64) for x in (scores, rewards))
    preferences = _preference_bins(scores, rewards, prompts)
    total = sum(found.count for found in preferences)
    distances = (b.count * abs(b.mean_probability - b.share_right) for b in preferences)
    return Calibration(
        agreement=agreement(scores, rewards, prompts),
        scores=_score_bins(scores, rewards),
        preferences=preferences,
        preference_error=sum(distances) / total if total else float("nan"),
    )


def _score_bins(scores: np.ndarray, rewards: np.ndarray) -> tuple[ScoreBin, ...]:
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    return tuple(
        ScoreBin(
            low=float(scores[part].min()),
            high=float(scores[part].max()),
            count=len(part),
            mean_score=float(scores[part].mean()),
            mean_reward=float(rewards[part].mean()),
            standard_error=_standard_error(rewards[part]),
        )
        for part in parts
    )


def _standard_error(values: np.ndarray) -> float:
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _preference_bins(
    scores: np.ndarray, rewards: np.ndarray, prompts: np.ndarray
) -> tuple[PreferenceBin, ...]:
    counts, probabilities, right = np.zeros((3, _BINS))
    for better, worse in pairs_of(rewards, prompts):
        gaps = scores[better] - scores[worse]
        # e^x overflows for no |x|, since it is of the smaller side.
        odds = 1 / (1 + np.exp(-np.abs(gaps)))
        places = np.minimum((2 * _BINS * (odds - 0.5)).astype(int), _BINS - 1)
        counts += np.bincount(places, minlength=_BINS)
        probabilities += np.bincount(places, odds, _BINS)
        right += np.bincount(places, np.heaviside(gaps, 0.5), _BINS)
    edges = np.linspace(0.5, 1.0, _BINS + 1)
    return tuple(
        PreferenceBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            count=int(counts[i]),
            mean_probability=float(probabilities[i] / counts[i]),
            share_right=float(right[i] / counts[i]),
        )
        for i in np.flatnonzero(counts)
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(x) for x in value]
    return None if isinstance(value, float) and np.isnan(value) else value
