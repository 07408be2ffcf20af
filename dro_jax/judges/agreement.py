"""How far several people agree beyond chance."""

from collections.abc import Sequence

import numpy as np

from dro_jax.errors import DataError


def cohens_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Agreement of two raters beyond chance, κ = (p_o − p_e) / (1 − p_e).

    p_o is the share of items on which they agree; p_e = Σ_k p₁(k) p₂(k), of their own
    shares of each category.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales",
    https://doi.org/10.1177/001316446002000104.

    Args:
      first, second: ``[N]`` each, categories.

    Returns:
      None where there is no item, or chance alone gives full agreement.

    Raises:
      DataError: they rated different numbers of items.
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape or one.ndim != 1:
        raise DataError(f"two raters gave {one.shape} and {other.shape} answers")
    if not one.size:
        return None
    categories = np.union1d(one, other)
    expected = sum(np.mean(one == k) * np.mean(other == k) for k in categories)
    return _beyond_chance(float(np.mean(one == other)), float(expected))


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Agreement of several raters beyond chance, κ = (P̄ − P̄_e) / (1 − P̄_e).

    P̄ is the mean over items of the share of pairs of raters who agree, and
    P̄_e = Σ_k p_k², of all answers' shares. Items may have been rated by different numbers
    of people; those that fewer than two rated say nothing of agreement, and are left out.

    Source: Fleiss 1971, "Measuring nominal scale agreement among many raters",
    https://doi.org/10.1037/h0031619.

    Args:
      counts: ``[N, K]`` how many raters put item n into category k.

    Returns:
      None where no item was rated twice, or chance alone gives full agreement.

    Raises:
      DataError: a count is negative, or they are no table.
    """
    table = np.asarray(counts, np.float64)
    if not table.size:
        return None
    if table.ndim != 2 or (table < 0).any():
        raise DataError("counts of ratings must be a table of numbers from 0 on")
    raters = table.sum(axis=1)
    table, raters = table[raters > 1], raters[raters > 1]
    if not len(table):
        return None
    agreeing = (table * (table - 1)).sum(axis=1) / (raters * (raters - 1))
    shares = table.sum(axis=0) / table.sum()
    return _beyond_chance(float(agreeing.mean()), float(np.sum(shares**2)))


def _beyond_chance(observed: float, expected: float) -> float | None:
    if np.isclose(expected, 1.0):
        return None
    return (observed - expected) / (1 - expected)
