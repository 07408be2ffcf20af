"""Figures of responses with their intervals, prompts drawn whole."""

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.intervals import (
    bootstrap_totals,
    cluster_totals,
    clustered_standard_error,
    percentile_interval,
)


def mean_estimates(
    columns: Mapping[str, np.ndarray],
    clusters: Sequence[Hashable],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Means with standard errors and bootstrap intervals, one draw of clusters for all.

    Args:
      columns: by name, ``[N]`` finite numbers.
      clusters: ``[N]`` what is drawn together.
      num_resamples: 0 leaves intervals out.
      seed: of the draws.

    Raises:
      DataError: a number is not finite.
    """
    for name, column in columns.items():
        wrong = np.flatnonzero(~np.isfinite(column))
        if wrong.size:
            row = int(wrong[0])
            raise DataError(
                f"'{name}' of a response to prompt {clusters[row]} is {column[row]}: "
                "figures need finite numbers"
            )
    totals = cluster_totals(np.column_stack(list(columns.values())), clusters)
    means = totals[:, :-1].sum(0) / totals[:, -1].sum()
    if len(totals) < 2:
        return {
            name: Estimate(float(mean))
            for name, mean in zip(columns, means, strict=True)
        }
    errors = clustered_standard_error(totals)
    lows = highs = [None] * len(columns)
    if num_resamples:
        drawn = bootstrap_totals(totals, num_resamples=num_resamples, seed=seed)
        resampled = (drawn[:, :-1] / drawn[:, -1:]).T
        lows, highs = zip(*map(percentile_interval, resampled), strict=True)
    return {
        name: Estimate(float(mean), low, high, float(error))
        for name, mean, low, high, error in zip(
            columns, means, lows, highs, errors, strict=True
        )
    }


def estimate_of(
    statistic: Callable[[np.ndarray], np.ndarray],
    totals: np.ndarray,
    *,
    num_resamples: int,
    seed: int,
) -> Estimate | None:
    """A figure that follows from sums, with a bootstrap interval over clusters.

    Args:
      statistic: ``[R, K]`` sums to ``[R]`` figures, NaN where there is none.
      totals: ``[G, K]`` sums over clusters.
      num_resamples: 0 leaves the interval out.
      seed: of the draws.

    Returns:
      None where there is no such figure.
    """
    value = float(statistic(totals.sum(0, keepdims=True))[0])
    if np.isnan(value):
        return None
    if len(totals) < 2 or not num_resamples:
        return Estimate(value)
    drawn = bootstrap_totals(totals, num_resamples=num_resamples, seed=seed)
    resampled = statistic(drawn)
    resampled = resampled[~np.isnan(resampled)]  # of few clusters some have no figure
    return Estimate(value, *(percentile_interval(resampled) if resampled.size else ()))
