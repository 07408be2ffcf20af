import numpy as np
import pytest

from dro_jax.errors import DataError
from dro_jax.evaluation.estimates import estimate_of, mean_estimates
from dro_jax.evaluation.evaluated_run import Estimate


def ratio(totals):
    """The first sum over the second; NaN where that is 0."""
    return totals[:, 0] / np.where(totals[:, 1] == 0, np.nan, totals[:, 1])


def test_a_figure_of_sums_and_its_interval_by_a_slow_loop():
    totals = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 4.0]])
    found = estimate_of(ratio, totals, num_resamples=400, seed=3)
    rng = np.random.default_rng(3)
    rows = (totals[rng.integers(3, size=3)].sum(0) for _ in range(400))
    low, high = np.quantile([a / b for a, b in rows], [0.025, 0.975])
    assert found.value == pytest.approx(4 / 7)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_resamples_without_the_figure_are_left_out():
    # Of (1, 0) and (1, 1) a resample has 2/0, 2/1 or 2/2.
    totals = np.array([[1.0, 0.0], [1.0, 1.0]])
    found = estimate_of(ratio, totals, num_resamples=200, seed=0)
    assert found == Estimate(2.0, 1.0, 2.0)


def test_no_figure_and_no_interval():
    nothing = np.zeros((2, 2))
    assert estimate_of(ratio, nothing, num_resamples=10, seed=0) is None
    one = np.array([[1.0, 4.0]])
    assert estimate_of(ratio, one, num_resamples=10, seed=0) == Estimate(0.25)
    two = np.repeat(one, 2, axis=0)
    assert estimate_of(ratio, two, num_resamples=0, seed=0) == Estimate(0.25)


def test_means_share_their_draws():
    columns = {"x": np.array([1.0, 2.0, 6.0]), "twice": np.array([2.0, 4.0, 12.0])}
    found = mean_estimates(columns, ["a", "b", "a"], num_resamples=50, seed=1)
    x, twice = found["x"], found["twice"]
    assert x.value == 3.0
    for name in ("value", "low", "high", "standard_error"):
        assert getattr(twice, name) == pytest.approx(2 * getattr(x, name))


def test_numbers_that_are_not_finite_are_named():
    with pytest.raises(DataError, match="'x' of a response to prompt b is inf"):
        mean_estimates(
            {"x": np.array([1.0, np.inf])}, ["a", "b"], num_resamples=0, seed=0
        )
