"""Means over seeds of training and over prompts, and how sure both leave them.

Every seed's run answers the same prompts: numbers ``[S, P]``. What a seed adds to all of
its run's responses is chance of training, and more prompts do not average it away::

    x[s, p] = μ + a[s] + b[p] + e[s, p]
    Var(mean) = Var(a)/S + Var(b)/P + Var(e)/(S·P)

With MS the mean squares over seeds, over prompts and of what is left, that is estimated by
``V_p + max(0, V_s - V_e)``, of which V_p = MS_p/(S·P) has P - 1 degrees of freedom,
V_s = MS_s/(S·P) has S - 1, and V_e = MS_e/(S·P) has (S - 1)(P - 1): that of prompts, that
of seeds, less what is in both. Intervals are Student's, with Satterthwaite's degrees of
freedom: with three seeds that differ much, about 2, and so a wide interval.

Source: Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance
Components", https://doi.org/10.2307/3002019; the sum of two ways less their intersection
is that of Cameron, Gelbach and Miller 2011, "Robust Inference With Multiway Clustering",
https://doi.org/10.1198/jbes.2010.07136. A bootstrap over three seeds would give a variance
a third too small.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import special

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.intervals import CONFIDENCE


@dataclasses.dataclass(frozen=True)
class PooledDifference:
    """By how much the mean of one setting's runs exceeds another's.

    Attributes:
      estimate: the difference, its interval and standard error.
      p_value: two-sided; None where it has no standard error.
      prompts: that both answered.
      seeds: of either; with one, nothing is known of its chance, and the interval leaves
        it out.
    """

    estimate: Estimate
    p_value: float | None
    prompts: int
    seeds: tuple[int, int]


def pooled_mean(values: np.ndarray) -> Estimate:
    """The mean of all, with an interval over prompts, and over seeds from two on.

    Args:
      values: ``[S, P]`` finite numbers.

    Raises:
      ValueError: another shape, or numbers that are not finite.
    """
    values = _checked(values)
    terms = [_between(values.mean(0)), *_of_seeds(values)]
    return _estimate(float(values.mean()), terms)[0]


def pooled_difference(first: np.ndarray, second: np.ndarray) -> PooledDifference:
    """The first's mean less the second's, prompt by prompt.

    Prompts are paired. Seeds are not: another objective's run of the same seed is another
    draw; where seeds do bring both up or down, the interval is too wide rather than too
    narrow.

    Args:
      first, second: ``[S, P]`` and ``[T, P]``, prompts in one order.

    Raises:
      ValueError: numbers of prompts differ, or one is not finite.
    """
    first, second = _checked(first), _checked(second)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{first.shape[1]} prompts cannot be paired with {second.shape[1]}"
        )
    apart = first.mean(0) - second.mean(0)
    terms = [_between(apart), *_of_seeds(first), *_of_seeds(second)]
    estimate, p_value = _estimate(float(apart.mean()), terms)
    seeds = (len(first), len(second))
    return PooledDifference(estimate, p_value, first.shape[1], seeds)


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of a figure of whole runs, as distinct-n, with an interval over seeds alone.

    Args:
      values: one of each seed; of one there is no interval.
    """
    values = np.asarray(values, np.float64)
    return _estimate(float(values.mean()), [_between(values)])[0]


# A part of a variance, its degrees of freedom, and its sign in the sum.
_Term = tuple[float, int, int]


def _between(means: np.ndarray) -> _Term:
    count = len(means)
    if count < 2:
        return 0.0, 0, 1
    return float(means.var(ddof=1)) / count, count - 1, 1


def _of_seeds(values: np.ndarray) -> list[_Term]:
    """What seeds add beyond what the prompts' part has of them already; never below 0."""
    seeds, prompts = values.shape
    if seeds < 2:
        return []
    by_seed, by_prompt = values.mean(1), values.mean(0)
    between = float(by_seed.var(ddof=1)) / seeds
    if prompts < 2:
        return [(between, seeds - 1, 1)]
    left = values - by_seed[:, None] - by_prompt + values.mean()
    freedom = (seeds - 1) * (prompts - 1)
    both = float(np.sum(left**2)) / freedom / values.size
    if between <= both:
        return []
    return [(between, seeds - 1, 1), (both, freedom, -1)]


def _estimate(value: float, terms: Sequence[_Term]) -> tuple[Estimate, float | None]:
    """With Student's interval and p; neither where no part has degrees of freedom."""
    known = [term for term in terms if term[1] > 0]
    if not known:
        return Estimate(value), None
    variance = sum(sign * part for part, _, sign in known)
    if variance <= 0:  # all numbers are the same
        return Estimate(value, value, value, 0.0), 1.0 if value == 0 else 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees, _ in known)
    error = float(np.sqrt(variance))
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Estimate(value, value - half, value + half, error), p_value


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"seeds and prompts need finite numbers [S, P], got shape {values.shape}"
        )
    return values
