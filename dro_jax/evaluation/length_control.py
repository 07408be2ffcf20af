"""A win rate at equal length, for judges that like long answers."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.intervals import percentile_interval
from dro_jax.evaluation.l1_logistic import cross_entropy, fit

FOLDS = 5
STRENGTHS = np.logspace(-4, 4, 10)
"""What cross-validation chooses the weight of the data from."""


class _Cells(NamedTuple):
    """Pairs by fold and length term, all that a fit needs to know of them.

    Attributes:
      terms: ``[L]`` the length terms that occur.
      won: ``[B, FOLDS, L]`` the sum of preferences, for each of B resamples.
      lost: ``[B, FOLDS, L]`` the sum of what they lack of 1.
    """

    terms: np.ndarray
    won: np.ndarray
    lost: np.ndarray


def length_controlled_win_rate(
    preferences: Sequence[float] | np.ndarray,
    length_differences: Sequence[float] | np.ndarray,
    *,
    answered: Sequence[bool] | np.ndarray | None = None,
    clusters: Sequence[Hashable] | None = None,
    num_resamples: int = 500,
    seed: int = 0,
) -> Estimate | None:
    """The win rate that a policy would have if its responses had the other's lengths.

    A logistic regression of the preference y in [0, 1] on who answered and on length::

        P(first is better) = σ(θ + φ·tanh(Δ/sd(Δ))),   Δ = len(first) - len(second)

    fitted as ``argmin |θ| + |φ| + C·Σ cross-entropy``, C one of ten from 1e-4 to 1e4 by
    five-fold cross-validation; the win rate is the mean prediction with the length term
    set to zero, σ(θ).

    Source: Dubois et al. 2024, "Length-Controlled AlpacaEval",
    https://arxiv.org/abs/2404.04475, without the difficulty of instructions: the variant
    `length_controlled_minimal` of the package alpaca-eval 0.6.6, with its penalty, its
    folds and its choice of C. Where a difference cannot be told from chance the choice
    falls on a small C, and the win rate is exactly 1/2.

    The interval draws clusters with replacement and chooses C anew in each resample,
    where length terms are rounded to 32nds.

    Args:
      preferences: ``[N]`` in [0, 1], 1 where the first response is better.
      length_differences: ``[N]`` characters of the first less those of the second.
      answered: ``[N]`` whether the preference is a judge's; all by default. The others
        count in sd(Δ) alone, as in the package.
      clusters: ``[N]`` what is drawn and held out together, as the prompt's id; each pair
        by itself by default.
      num_resamples: of the bootstrap; 0 leaves the interval out.
      seed: of the bootstrap.

    Returns:
      The win rate with a 95% interval; None for fewer answered clusters than folds.

    Raises:
      ValueError: shapes differ, or a number is not finite or out of its range.
    """
    preferences = np.asarray(preferences, np.float64)
    differences = np.asarray(length_differences, np.float64)
    _check(preferences, differences)
    count = len(preferences)
    answered = np.ones(count, bool) if answered is None else np.asarray(answered, bool)
    clusters = range(count) if clusters is None else clusters
    if not len(answered) == len(clusters) == count:
        raise ValueError(
            f"{count} preferences have {len(answered)} marks of which are answers and "
            f"{len(clusters)} clusters"
        )
    numbers: dict[Hashable, int] = {}
    rows = np.flatnonzero(answered)
    group = np.array([numbers.setdefault(clusters[r], len(numbers)) for r in rows], int)
    if len(numbers) < FOLDS:
        return None
    spread = np.std(differences, ddof=1)
    scaled = differences / spread if spread > 0 else np.zeros(count)
    terms, won = np.tanh(scaled)[rows], preferences[rows]
    once = np.ones((1, len(numbers)))
    value = float(_win_rates(_cells(terms, won, group, once), tolerance=1e-10)[0])
    if not num_resamples:
        return Estimate(value)
    drawn = _draws(len(numbers), num_resamples, seed)
    # Never 1: a term that is always 1 could not be told from the constant.
    coarse = np.clip(np.round(terms * 32) / 32, -63 / 64, 63 / 64)
    resampled = _win_rates(_cells(coarse, won, group, drawn), tolerance=1e-5)
    return Estimate(value, *percentile_interval(resampled))


def _check(preferences: np.ndarray, differences: np.ndarray) -> None:
    if preferences.ndim != 1 or preferences.shape != differences.shape:
        raise ValueError(
            f"preferences of shape {preferences.shape} and length differences of shape "
            f"{differences.shape}: both must be [N]"
        )
    if not ((preferences >= 0) & (preferences <= 1)).all():
        raise ValueError("preferences must lie in [0, 1]")
    if not np.isfinite(differences).all():
        raise ValueError("length differences must be finite")


def _draws(groups: int, num_resamples: int, seed: int) -> np.ndarray:
    """``[R, G]`` how often each cluster is drawn."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(groups, size=groups) for _ in range(num_resamples))
    return np.stack([np.bincount(rows, minlength=groups) for rows in drawn])


def _cells(
    terms: np.ndarray, won: np.ndarray, group: np.ndarray, drawn: np.ndarray
) -> _Cells:
    """Pairs whose clusters were drawn ``drawn [B, G]`` times, by fold and length term.

    The last cluster is held out in fold 0, the one before in fold 1, …: the folds that
    sklearn's GroupKFold makes of groups of one size.
    """
    levels, level = np.unique(terms, return_inverse=True)
    fold = (drawn.shape[1] - 1 - group) % FOLDS
    cell = fold * len(levels) + level

    def counted(amounts: np.ndarray) -> np.ndarray:
        size = FOLDS * len(levels)
        sums = [np.bincount(cell, times[group] * amounts, size) for times in drawn]
        return np.stack(sums).reshape(-1, FOLDS, len(levels))

    return _Cells(levels, counted(won), counted(1 - won))


def _win_rates(cells: _Cells, tolerance: float) -> np.ndarray:
    """σ(θ) of each resample, ``[B]``, at the C that predicts held-out folds best."""
    terms, held = cells.terms, cells[1:]
    others = 1 - np.eye(FOLDS)
    # All folds of all resamples are one batch, and start from the weaker C's fit.
    kept = [_rows(np.einsum("fg,bgl->bfl", others, part)) for part in held]
    everything = [part.sum(1) for part in held]
    held = [_rows(part) for part in held]
    pairs = np.maximum(held[0].sum(1) + held[1].sum(1), 1)  # none drawn: it costs 0
    fold_fit, whole_fit = np.zeros((len(pairs), 2)), np.zeros((len(everything[0]), 2))
    losses, thetas = [], []
    for strength in STRENGTHS:
        fold_fit = fit(terms, *kept, strength, start=fold_fit, tolerance=tolerance)
        whole_fit = fit(
            terms, *everything, strength, start=whole_fit, tolerance=tolerance
        )
        loss = cross_entropy(fold_fit, terms, *held) / pairs
        losses.append(loss.reshape(-1, FOLDS).mean(1))
        thetas.append(whole_fit[:, 0])
    best = np.argmin(losses, axis=0)  # the first of equals: the weakest
    theta = np.stack(thetas)[best, np.arange(len(best))]
    return 1 / (1 + np.exp(-theta))


def _rows(parts: np.ndarray) -> np.ndarray:
    return parts.reshape(-1, parts.shape[-1])
