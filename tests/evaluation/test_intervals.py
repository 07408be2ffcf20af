import numpy as np
import pytest

from dro_jax.evaluation.intervals import (
    bootstrap_mean_interval,
    bootstrap_totals,
    cluster_totals,
    clustered_standard_error,
)


def test_totals_of_clusters_by_hand():
    totals = cluster_totals([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]], ["x", "y", "x"])
    assert totals.tolist() == [[5.0, 50.0, 2.0], [2.0, 20.0, 1.0]]


@pytest.mark.parametrize("columns", [[1.0, 2.0], [[1.0]]])
def test_totals_refuse_other_shapes(columns):
    with pytest.raises(ValueError, match="N = 2 responses"):
        cluster_totals(columns, ["x", "y"])


def test_resamples_are_those_of_a_slow_loop():
    totals = np.random.default_rng(1).normal(size=(5, 3))
    rng = np.random.default_rng(7)
    slow = [sum(totals[g] for g in rng.integers(5, size=5)) for _ in range(20)]
    drawn = bootstrap_totals(totals, num_resamples=20, seed=7)
    np.testing.assert_allclose(drawn, slow, rtol=1e-12)


@pytest.mark.parametrize("groups, resamples", [(0, 5), (3, 0)])
def test_a_bootstrap_of_nothing_is_refused(groups, resamples):
    with pytest.raises(ValueError, match="clusters and resamples"):
        bootstrap_totals(np.ones((groups, 1)), num_resamples=resamples)


def test_a_standard_error_of_single_values_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=50)
    totals = cluster_totals(values[:, None], range(50))
    error = values.std(ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(clustered_standard_error(totals), [error])


def test_copies_of_a_response_say_nothing_more():
    # Three of each: as sure as one of each, and not √3 times.
    values = np.random.default_rng(0).normal(size=50)
    once = clustered_standard_error(cluster_totals(values[:, None], range(50)))
    thrice = clustered_standard_error(
        cluster_totals(np.repeat(values, 3)[:, None], np.repeat(range(50), 3).tolist())
    )
    np.testing.assert_allclose(thrice, once)


def test_a_standard_error_of_one_cluster_is_refused():
    with pytest.raises(ValueError, match="two clusters"):
        clustered_standard_error(np.ones((1, 2)))


def test_an_interval_draws_clusters():
    values, clusters = [1.0, 2.0, 6.0, 8.0], ["a", "b", "a", "c"]
    rng = np.random.default_rng(0)
    members = [[1.0, 6.0], [2.0], [8.0]]
    means = [
        np.mean(np.concatenate([members[g] for g in rng.integers(3, size=3)]))
        for _ in range(500)
    ]
    found = bootstrap_mean_interval(values, clusters=clusters, num_resamples=500)
    assert found == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_bootstrap_of_a_constant_is_that_constant():
    assert bootstrap_mean_interval([0.25] * 7) == (0.25, 0.25)


def test_bootstrap_of_two_values_is_the_binomial_law():
    # The resampled mean of (0, 1) is 0, 1/2, 1 with probability 1/4, 1/2, 1/4, so the
    # central 40% is 1/2 alone and the central 80% reaches both ends.
    assert bootstrap_mean_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)
    assert bootstrap_mean_interval([0.0, 1.0], confidence=0.8) == (0.0, 1.0)


def test_bootstrap_agrees_with_the_normal_interval():
    # The central limit theorem: mean +- 1.96 sd / sqrt(N), sd the population one.
    values = np.random.default_rng(0).uniform(size=2000)
    half = 1.96 * values.std() / np.sqrt(values.size)
    low, high = bootstrap_mean_interval(values, num_resamples=4000)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_depends_on_the_seed_only():
    values = np.linspace(0.0, 1.0, 11) ** 2
    first = bootstrap_mean_interval(values, seed=3)
    assert bootstrap_mean_interval(list(values), seed=3) == first
    assert bootstrap_mean_interval(values, seed=4) != first


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, float("nan")], 1.0])
def test_bootstrap_refuses_unusable_values(values):
    with pytest.raises(ValueError, match="non-empty one-dimensional"):
        bootstrap_mean_interval(values)


@pytest.mark.parametrize(
    "setting", [{"confidence": 0.0}, {"confidence": 1.0}, {"num_resamples": 0}]
)
def test_bootstrap_refuses_unusable_settings(setting):
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_mean_interval([1.0, 2.0], **setting)
