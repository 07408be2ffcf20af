import numpy as np
import pytest

from dro_jax.errors import DataError
from dro_jax.judges.agreement import cohens_kappa, fleiss_kappa

# The worked example of the article "Fleiss' kappa" in Wikipedia: 14 raters, ten items,
# five categories, κ = 0.210.
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_fleiss_kappa_of_a_worked_example():
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_items_rated_once_say_nothing():
    assert fleiss_kappa([*FLEISS, [1, 0, 0, 0, 0]]) == fleiss_kappa(FLEISS)
    assert fleiss_kappa([[1, 0], [0, 1]]) is None
    assert fleiss_kappa([]) is None


def test_cohens_kappa_by_hand():
    # Of 50: both yes 20, only the first 5, only the second 10, neither 15;
    # p_o = 0.7, p_e = 0.5·0.6 + 0.5·0.4 = 0.5, κ = 0.4.
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(second, first) == pytest.approx(0.4)


def test_kappa_is_one_for_agreement_and_zero_for_chance():
    assert cohens_kappa([0, 1, 2], [0, 1, 2]) == 1.0
    assert fleiss_kappa([[2, 0], [0, 2]]) == 1.0
    assert cohens_kappa([0, 0, 1, 1], [0, 1, 0, 1]) == 0.0
    assert cohens_kappa([1, 1], [1, 1]) is None
    assert cohens_kappa([], []) is None


def test_two_raters_who_agree_on_shares_have_nearly_the_same_kappas():
    # Fleiss' takes chance from the shares of all, Cohen's from each rater's own: they
    # are equal where these are.
    first, second = [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0]
    counts = np.zeros((6, 3), int)
    for answers in (first, second):
        counts[range(6), answers] += 1
    assert fleiss_kappa(counts) == pytest.approx(cohens_kappa(first, second))


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError):
        cohens_kappa([1], [1, 2])
    with pytest.raises(DataError):
        fleiss_kappa([[1, -1]])
