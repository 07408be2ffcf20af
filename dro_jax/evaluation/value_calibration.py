"""Whether a value estimate V(x) tells the reward of what a policy answers."""

from collections.abc import Hashable, Sequence

import numpy as np

from dro_jax.evaluation.intervals import cluster_totals

BINS = 10


def calibration_table(
    values: np.ndarray, rewards: np.ndarray, *, bins: int = BINS
) -> list[dict[str, float]]:
    """Mean reward where V is low, and on to where it is high.

    Bins hold about as many responses each; V is at least `low` and below `high`, in the
    last bin at most. Like values are never parted, so that there may be fewer bins.

    Source: reliability diagrams, as in Niculescu-Mizil and Caruana 2005,
    https://doi.org/10.1145/1102351.1102430, with bins of like size.

    Args:
      values: ``[N]`` V(x) of each response's prompt.
      rewards: ``[N]`` the response's reward.
      bins: at most so many, at least 1.

    Returns:
      `low`, `high`, `count`, `mean_value` and `mean_reward` of each bin.

    Raises:
      ValueError: shapes differ, or there is no bin.
    """
    values, rewards = _checked(values, rewards)
    if bins < 1:
        raise ValueError(f"a calibration table needs a bin, got {bins}")
    if not values.size:
        return []
    # Limits are values that occur, so that each bin holds the one that it begins with.
    limits = np.quantile(values, np.linspace(0, 1, bins + 1), method="lower")
    limits = np.unique(limits)
    place = np.searchsorted(limits, values, side="right") - 1
    place = np.minimum(place, max(len(limits) - 2, 0))
    return [
        {
            "low": float(limits[number]),
            "high": float(limits[min(number + 1, len(limits) - 1)]),
            "count": int(inside.sum()),
            "mean_value": float(values[inside].mean()),
            "mean_reward": float(rewards[inside].mean()),
        }
        for number in range(max(len(limits) - 1, 1))
        for inside in [place == number]
    ]


def moments(
    values: np.ndarray, rewards: np.ndarray, clusters: Sequence[Hashable]
) -> np.ndarray:
    """Sums of V, r, V², r² and V·r over clusters, and numbers, ``[G, 6]``.

    V and r are taken from their means first, which changes no variance.

    Raises:
      ValueError: shapes differ.
    """
    v, r = _checked(values, rewards)
    v, r = v - v.mean(), r - r.mean()
    return cluster_totals(np.column_stack([v, r, v * v, r * r, v * r]), clusters)


def explained_variance(totals: np.ndarray) -> np.ndarray:
    """``1 - Var(r - V)/Var(r)``: 1 for a perfect V, 0 for a constant, below for a worse.

    It takes no account of V's mean, which its bias tells.

    Source: as in OpenAI Baselines' `explained_variance`.

    Args:
      totals: ``[R, 6]`` sums of :func:`moments`.

    Returns:
      ``[R]``; NaN where rewards are all the same.
    """
    var_v, var_r, cov = _covariances(totals)
    return 1 - (var_r + var_v - 2 * cov) / _or_nan(var_r)


def correlation(totals: np.ndarray) -> np.ndarray:
    """Pearson's correlation of V and r, ``[R]``, of sums ``[R, 6]`` of :func:`moments`.

    NaN where either is always the same.
    """
    var_v, var_r, cov = _covariances(totals)
    return cov / np.sqrt(_or_nan(var_v) * _or_nan(var_r))


def _covariances(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    v, r, vv, rr, vr = (totals[:, :-1] / totals[:, -1:]).T
    return _spread(vv, v), _spread(rr, r), vr - v * r


def _spread(square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A variance; 0 where what is left is rounding."""
    spread = square - mean**2
    return np.where(spread > 1e-12 * square, spread, 0.0)


def _or_nan(variance: np.ndarray) -> np.ndarray:
    return np.where(variance > 0, variance, np.nan)


def _checked(values: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, rewards = np.asarray(values, np.float64), np.asarray(rewards, np.float64)
    if values.ndim != 1 or values.shape != rewards.shape:
        raise ValueError(
            f"values of shape {values.shape} and rewards of shape {rewards.shape}: both "
            "must be [N]"
        )
    return values, rewards
