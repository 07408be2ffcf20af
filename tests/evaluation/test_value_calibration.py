import numpy as np
import pytest

from dro_jax.evaluation.value_calibration import (
    calibration_table,
    correlation,
    explained_variance,
    moments,
)

VALUES = np.array([0.0, 1.0, 1.0, 2.0])
REWARDS = np.array([1.0, 0.0, 2.0, 3.0])


def whole(values, rewards):
    return moments(values, rewards, range(len(values))).sum(0, keepdims=True)


def test_figures_by_hand():
    # Var r = 5/4, r - V = 1 -1 1 1: variance 3/4. Cov = 1/2, Var V = 1/2.
    sums = whole(VALUES, REWARDS)
    np.testing.assert_allclose(explained_variance(sums), [1 - 3 / 5])
    np.testing.assert_allclose(correlation(sums), [0.5 / np.sqrt(0.5 * 1.25)])


def test_figures_are_numpys():
    rng = np.random.default_rng(0)
    values = 1e4 + rng.normal(size=200)
    rewards = values + rng.normal(size=200)
    sums = whole(values, rewards)
    expected = 1 - np.var(rewards - values) / np.var(rewards)
    np.testing.assert_allclose(explained_variance(sums), [expected], rtol=1e-9)
    np.testing.assert_allclose(
        correlation(sums), [np.corrcoef(values, rewards)[0, 1]], rtol=1e-9
    )


def test_totals_of_a_resample_are_its_own_figures():
    totals = moments(VALUES, REWARDS, ["a", "b", "b", "c"])
    drawn = totals[[0, 0, 1]].sum(0, keepdims=True)
    v, r = VALUES[[0, 0, 1, 2]], REWARDS[[0, 0, 1, 2]]
    np.testing.assert_allclose(
        explained_variance(drawn), [1 - np.var(r - v) / np.var(r)]
    )


@pytest.mark.parametrize("same", [0.0, 0.1, 1e6])
def test_what_never_varies_has_no_figure(same):
    constant = np.full(4, same)
    assert np.isnan(explained_variance(whole(VALUES, constant)))
    assert np.isnan(correlation(whole(VALUES, constant)))
    assert np.isnan(correlation(whole(constant, REWARDS)))
    np.testing.assert_allclose(explained_variance(whole(constant, REWARDS)), [0.0])


def test_the_table_by_hand():
    values, rewards = np.array([3.0, 1.0, 2.0, 4.0]), np.array([1.0, 0.0, 1.0, 5.0])
    assert calibration_table(values, rewards, bins=2) == [
        {"low": 1.0, "high": 2.0, "count": 1, "mean_value": 1.0, "mean_reward": 0.0},
        {"low": 2.0, "high": 4.0, "count": 3, "mean_value": 3.0,
         "mean_reward": pytest.approx(7 / 3)},
    ]  # fmt: skip


def test_bins_hold_about_as_many_each_and_every_response_once():
    rng = np.random.default_rng(0)
    values, rewards = rng.normal(size=(2, 1000))
    table = calibration_table(values, rewards)
    counts = [row["count"] for row in table]
    assert len(table) == 10 and sum(counts) == 1000
    assert min(counts) >= 98 and max(counts) <= 102
    assert [row["low"] for row in table[1:]] == [row["high"] for row in table[:-1]]
    for row in table:
        assert row["low"] <= row["mean_value"] <= row["high"]


def test_like_values_are_not_parted():
    table = calibration_table(np.array([1.0] * 8 + [2.0] * 2), np.arange(10.0))
    assert sum(row["count"] for row in table) == 10
    (one,) = calibration_table(np.full(5, 0.3), np.arange(5.0))
    assert (one["low"], one["high"], one["count"]) == (0.3, 0.3, 5)
    assert one["mean_reward"] == 2.0


def test_no_responses_no_bins():
    assert calibration_table(np.zeros(0), np.zeros(0)) == []


def test_unusable_numbers_are_refused():
    with pytest.raises(ValueError, match="both must be"):
        calibration_table(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="both must be"):
        moments(np.zeros(2), np.zeros((2, 1)), "ab")
    with pytest.raises(ValueError, match="needs a bin"):
        calibration_table(VALUES, REWARDS, bins=0)
