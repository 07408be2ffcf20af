import numpy as np
import pytest

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate, WinRate
from dro_jax.evaluation.strengths import bradley_terry


def rate(first, second, wins, ties, losses, judge="j"):
    value = (wins + ties / 2) / (wins + ties + losses)
    return WinRate(first, second, judge, Estimate(value), wins, ties, losses)


def test_two_runs_by_hand():
    # 7 wins and 2 losses, and one tie more: 7.5 to 2.5; told either way round.
    strengths = bradley_terry(["a", "b"], [rate("a", "b", 7, 0, 2)])
    turned = bradley_terry(["a", "b"], [rate("b", "a", 2, 0, 7)])
    assert turned == pytest.approx(strengths)
    assert strengths["a"] == pytest.approx(np.log(3) / 2)
    assert strengths["b"] == pytest.approx(-np.log(3) / 2)


def test_strengths_solve_the_equations_of_maximum_likelihood():
    # At the maximum each run wins as often as predicted.
    labels = ["a", "b", "c", "d"]
    rates = [
        rate("a", "b", 60, 10, 30), rate("c", "a", 20, 0, 80), rate("b", "c", 50, 5, 45),
        rate("d", "a", 0, 0, 40), rate("c", "d", 90, 10, 0),
    ]  # fmt: skip
    strengths = bradley_terry(labels, rates)
    for label in labels:
        won = predicted = 0.0
        for one in rates:
            if label in (one.first, one.second):
                games = one.wins + one.ties + one.losses + 1
                first = one.win_rate.value * (games - 1) + 0.5
                other = one.second if label == one.first else one.first
                won += first if label == one.first else games - first
                gap = strengths[label] - strengths[other]
                predicted += games / (1 + np.exp(-gap))
        assert won == pytest.approx(predicted, rel=1e-9)
    assert sum(strengths.values()) == pytest.approx(0, abs=1e-12)


def test_a_run_that_always_won_has_a_finite_strength():
    strengths = bradley_terry(["a", "b"], [rate("b", "a", 100, 0, 0)])
    assert strengths["b"] - strengths["a"] == pytest.approx(np.log(100.5 / 0.5))


def test_one_run_alone():
    assert bradley_terry(["a"], []) == {"a": 0.0}


def test_runs_that_nothing_joins_are_refused():
    rates = [rate("a", "b", 1, 0, 1), rate("c", "d", 1, 0, 1)]
    with pytest.raises(DataError, match="joins 'a' and 'c'"):
        bradley_terry(["a", "b", "c", "d"], rates)


@pytest.mark.parametrize(
    "rates, message",
    [
        ([rate("a", "b", 1, 0, 1), rate("a", "b", 1, 0, 1, "k")], "judges: j, k"),
        ([rate("a", "z", 1, 0, 1)], "'z', which is no run"),
        ([rate("a", "b", 1, 0, 1), rate("b", "a", 1, 0, 1)], "compared twice"),
        ([rate("a", "a", 1, 0, 1)], "are one run"),
    ],
)
def test_unusable_win_rates_are_refused(rates, message):
    with pytest.raises(DataError, match=message):
        bradley_terry(["a", "b"], rates)
