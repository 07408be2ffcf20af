"""Means over seeds and prompts: by hand, against known cases, and how often they hold."""

import numpy as np
import pytest
from scipy import stats

from dro_jax.evaluation.seeds_and_prompts import (
    mean_over_seeds,
    pooled_difference,
    pooled_mean,
)


def test_one_seed_is_students_interval_over_prompts():
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    found = pooled_mean(values[None])
    known = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_seeds_that_all_differ_alike_give_students_interval_over_seeds():
    """Prompts that are all the same: nothing is left but the seeds."""
    seeds = np.array([0.2, 0.5, 0.6])
    found = pooled_mean(np.repeat(seeds[:, None], 4, axis=1))
    known = stats.ttest_1samp(seeds, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    alone = mean_over_seeds(seeds)
    assert (alone.low, alone.high) == pytest.approx((known.low, known.high))
    assert mean_over_seeds([0.3]).low is None


def test_the_parts_of_the_variance_by_hand():
    # Means of prompts 2, 5: variance 4.5 over 2. Of seeds 1, 6: 12.5 over 2. What is left
    # is ±0.5 four times: 1 over (1)(1) degrees, over 4 numbers.
    values = np.array([[0.0, 2.0], [4.0, 8.0]])
    prompts, seeds, both = 4.5 / 2, 12.5 / 2, 1 / 4
    found = pooled_mean(values)
    variance = prompts + seeds - both
    assert found.standard_error == pytest.approx(variance**0.5)
    freedom = variance**2 / (prompts**2 + seeds**2 + both**2)
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    assert found.high - found.value == pytest.approx(half)


def test_a_difference_pairs_prompts():
    random = np.random.default_rng(0)
    worth = random.normal(0, 10, 50)
    first, second = (worth + random.normal(m, 0.1, (1, 50)) for m in (0.3, 0.0))
    found = pooled_difference(first, second)
    known = stats.ttest_rel(first[0], second[0])
    interval = known.confidence_interval(0.95)
    ends = (found.estimate.low, found.estimate.high)
    assert ends == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(known.pvalue)
    assert (found.prompts, found.seeds) == (50, (1, 1))


def test_a_difference_of_seeds_alone_is_welchs():
    one, two = np.array([0.2, 0.5, 0.6]), np.array([0.1, 0.15])
    found = pooled_difference(
        np.repeat(one[:, None], 3, axis=1), np.repeat(two[:, None], 3, axis=1)
    )
    known = stats.ttest_ind(one, two, equal_var=False)
    assert found.p_value == pytest.approx(known.pvalue)


def test_what_is_all_the_same_has_no_error():
    same = np.full((3, 4), 0.5)
    found = pooled_mean(same)
    assert (found.low, found.high, found.standard_error) == (0.5, 0.5, 0.0)
    assert pooled_difference(same, same).p_value == 1.0
    assert pooled_difference(same, same - 1).p_value == 0.0
    assert pooled_mean(np.ones((1, 1))).low is None


@pytest.mark.parametrize(("seeds", "luck"), [(1, 0.0), (3, 0.0), (3, 0.1), (5, 0.3)])
def test_intervals_hold_about_as_often_as_they_say(seeds, luck):
    random = np.random.default_rng(seeds)
    count, held, differ = 400, 0, 0
    for _ in range(count):
        worth = random.normal(0, 1, 60)
        one, two = (
            worth
            + random.normal(0, luck, (seeds, 1))
            + random.normal(0, 1, (seeds, 60))
            for _ in range(2)
        )
        found = pooled_mean(one)
        held += found.low <= 0 <= found.high
        differ += pooled_difference(one, two).p_value < 0.05
    assert 0.92 <= held / count <= 0.99
    assert differ / count <= 0.08


def test_one_seed_says_nothing_of_luck():
    """What a page must say of it: the interval of one run is of that run."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = pooled_mean(random.normal(0, 0.5) + random.normal(0, 1, (1, 60)))
        held += found.low <= 0 <= found.high
    assert held / 200 < 0.6


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="finite numbers"):
        pooled_mean(np.zeros(3))
    with pytest.raises(ValueError, match="finite numbers"):
        pooled_mean(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="cannot be paired"):
        pooled_difference(np.zeros((1, 3)), np.zeros((2, 4)))
