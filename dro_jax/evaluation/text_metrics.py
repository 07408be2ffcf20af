"""Statistics of generated text: diversity, length, and intervals for means.

Plain Python and NumPy. Words are what ``str.split`` yields: runs of characters without
white space, case and punctuation kept.
"""

from collections.abc import Sequence

import numpy as np


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Share of the n-grams of a set of texts that differ from each other.

    distinct-n = |set of all n-grams| / |all n-grams|, counted over the whole set, so
    that texts which repeat each other lower it; no n-gram spans two texts. It falls as
    the set grows: compare sets of equal size only.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural
    Conversation Models", https://arxiv.org/abs/1510.03055 (distinct-1, distinct-2).

    Args:
      texts: the responses.
      n: words in an n-gram, at least 1.

    Returns:
      A number in (0, 1], or 0.0 where no text has n words.

    Raises:
      ValueError: ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"distinct_n needs n >= 1, got {n}")
    ngrams = [
        tuple(words[start : start + n])
        for words in (text.split() for text in texts)
        for start in range(len(words) - n + 1)
    ]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def mean_length(texts: Sequence[str]) -> float:
    """Mean number of words a text; 0.0 for no texts, and an empty text counts as 0."""
    return float(np.mean([len(text.split()) for text in texts])) if texts else 0.0


def bootstrap_mean_interval(
    values: Sequence[float] | np.ndarray,
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval for the mean of independent values.

    Means of ``num_resamples`` samples of the same size, drawn with replacement; the
    interval is their (1 - confidence)/2 and (1 + confidence)/2 quantiles.

    Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife",
    https://doi.org/10.1214/aos/1176344552.

    Args:
      values: ``[N]`` finite numbers, for example the reward of each response.
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
    rng = np.random.default_rng(seed)
    # One resample at a time: memory stays at N, also for long runs of responses.
    means = [
        np.mean(values[rng.integers(values.size, size=values.size)])
        for _ in range(num_resamples)
    ]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
