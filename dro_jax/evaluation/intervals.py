"""How sure a figure is: bootstrap intervals and standard errors over clusters.

Responses to one prompt resemble each other, so prompts are drawn and not responses: a
cluster is what one draw brings. All functions are of totals over clusters, since a mean,
a ratio or a correlation of a resample follows from its totals alone.
"""

from collections.abc import Hashable, Sequence

import numpy as np

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000


def cluster_totals(columns: np.ndarray, clusters: Sequence[Hashable]) -> np.ndarray:
    """Sums of numbers over each cluster, and how many there are.

    Args:
      columns: ``[N, K]`` numbers of N responses.
      clusters: ``[N]`` what each belongs to, as its prompt's id.

    Returns:
      ``[G, K + 1]`` float64 for G clusters, in the order in which they first appear; the
      last column holds the number of responses.

    Raises:
      ValueError: shapes differ.
    """
    columns = np.asarray(columns, np.float64)
    if columns.ndim != 2 or len(columns) != len(clusters):
        raise ValueError(
            f"cluster_totals needs [N, K] numbers of N = {len(clusters)} responses, got "
            f"shape {columns.shape}"
        )
    numbers: dict[Hashable, int] = {}
    rows = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    totals = np.zeros((len(numbers), columns.shape[1] + 1))
    np.add.at(totals, rows, np.column_stack([columns, np.ones(len(columns))]))
    return totals


def bootstrap_totals(
    totals: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Totals of resamples: as many clusters, drawn with replacement.

    Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife",
    https://doi.org/10.1214/aos/1176344552; whole clusters are drawn, as in Davison and
    Hinkley 1997, "Bootstrap Methods and their Application", section 3.8.

    Args:
      totals: ``[G, K]`` sums over G clusters.
      num_resamples: R, at least 1.
      seed: the same seed draws the same clusters.

    Returns:
      ``[R, K]`` sums over each resample.

    Raises:
      ValueError: no clusters, or no resamples.
    """
    if not len(totals) or num_resamples < 1:
        raise ValueError(
            f"a bootstrap needs clusters and resamples, got {len(totals)} and "
            f"{num_resamples}"
        )
    rng = np.random.default_rng(seed)
    size = len(totals)
    # One resample at a time: memory stays at G, also for long lists of prompts.
    return np.stack(
        [
            np.bincount(rng.integers(size, size=size), minlength=size) @ totals
            for _ in range(num_resamples)
        ]
    )


def percentile_interval(
    resampled: np.ndarray, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The (1 - confidence)/2 and (1 + confidence)/2 quantiles of resampled figures."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_mean_interval(
    values: Sequence[float] | np.ndarray,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval for a mean.

    Means of ``num_resamples`` samples of as many clusters, drawn with replacement; the
    interval is their (1 - confidence)/2 and (1 + confidence)/2 quantiles.

    Source: :func:`dro_jax.evaluation.intervals.bootstrap_totals`.

    Args:
      values: ``[N]`` finite numbers, for example the reward of each response.
      clusters: ``[N]`` what is drawn together; None draws each value by itself.
      confidence: in (0, 1).
      num_resamples: number of resampled means, at least 1.
      seed: the same seed and values give the same interval.

    Returns:
      (low, high), in the units of ``values``.

    Raises:
      ValueError: ``values`` is empty, not one-dimensional or not finite, or a setting
        is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size or not np.all(np.isfinite(values)):
        raise ValueError(
            "bootstrap_mean_interval needs a non-empty one-dimensional array of finite "
            f"numbers, got shape {values.shape}"
        )
    if not 0.0 < confidence < 1.0 or num_resamples < 1:
        raise ValueError(
            "bootstrap_mean_interval needs 0 < confidence < 1 and num_resamples >= 1, "
            f"got {confidence} and {num_resamples}"
        )
    clusters = range(values.size) if clusters is None else clusters
    totals = cluster_totals(values[:, None], clusters)
    drawn = bootstrap_totals(totals, num_resamples=num_resamples, seed=seed)
    return percentile_interval(drawn[:, 0] / drawn[:, 1], confidence=confidence)


def clustered_standard_error(totals: np.ndarray) -> np.ndarray:
    """Standard errors of means whose responses come in clusters.

    With sums S_g and numbers n_g of G clusters, N = Σ n_g and m = Σ S_g / N::

        SE = sqrt( G/(G - 1) · Σ_g (S_g - n_g·m)² ) / N

    With one response a cluster it is the usual sd/√N.

    Source: Liang and Zeger 1986, "Longitudinal data analysis using generalized linear
    models", https://doi.org/10.1093/biomet/73.1.13, for a mean, with the usual factor
    G/(G - 1) for few clusters.

    Args:
      totals: ``[G, K + 1]`` of :func:`cluster_totals`, G at least 2.

    Returns:
      ``[K]``, in the units of what was summed.

    Raises:
      ValueError: there are fewer than two clusters.
    """
    groups = len(totals)
    if groups < 2:
        raise ValueError(f"a standard error needs two clusters, got {groups}")
    sums, counts = totals[:, :-1], totals[:, -1:]
    means = sums.sum(0) / counts.sum()
    squares = np.sum((sums - counts * means) ** 2, axis=0)
    return np.sqrt(groups / (groups - 1) * squares) / counts.sum()
