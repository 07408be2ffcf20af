"""What a prompt is worth, of the reference's samples or of what is logged for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import RPO, logged_values, rpo_prompt_values, sampled_values

TAU = 0.5


def draw(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def test_sampled_values_by_hand():
    # τ log of the mean of 2 and 1, of 4 alone, and of nothing.
    rewards = TAU * jnp.log(jnp.array([[2.0, 1.0], [4.0, jnp.nan], [jnp.nan, 1.0]]))
    weights = jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        sampled_values(rewards, tau=TAU, weights=weights),
        [TAU * np.log(1.5), TAU * np.log(4), 0.0],
        rtol=1e-6,
    )
    full = rewards[:1]
    np.testing.assert_allclose(
        sampled_values(full, tau=TAU), [TAU * np.log(1.5)], rtol=1e-6
    )


def test_sampled_values_are_the_mean_and_the_largest_at_the_ends_of_tau():
    rewards = draw(5, 8)
    np.testing.assert_allclose(
        sampled_values(rewards, tau=1e3), jnp.mean(rewards, axis=1), atol=2e-3
    )
    np.testing.assert_allclose(
        sampled_values(rewards, tau=1e-4), jnp.max(rewards, axis=1), atol=1e-3
    )


def test_sampled_values_of_extreme_rewards_stay_finite_and_still():
    rewards = jnp.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    values = sampled_values(rewards, tau=1e-2)
    np.testing.assert_allclose(values, [1e4, -1e4], rtol=1e-5)
    slopes = jax.grad(lambda r: jnp.sum(sampled_values(r, tau=1e-2)))(rewards)
    np.testing.assert_array_equal(slopes, 0)


def test_sampled_values_tend_to_the_optimal_ones():
    rng = np.random.default_rng(0)
    reference, rewards = rng.dirichlet(np.ones(6)), rng.normal(size=6)
    optimal = TAU * np.log(np.sum(reference * np.exp(rewards / TAU)))
    drawn = jnp.asarray(rewards[rng.choice(6, (3, 20_000), p=reference)], jnp.float32)
    np.testing.assert_allclose(sampled_values(drawn, tau=TAU), optimal, atol=0.02)


def test_logged_values_are_sampled_values_in_any_order():
    rewards = draw(4, 3)
    order = np.random.default_rng(1).permutation(12)
    groups = np.repeat([7, -2, 0, 3], 3)[order]
    found = logged_values(rewards.reshape(-1)[order], jnp.asarray(groups), tau=TAU)
    expected = jnp.repeat(sampled_values(rewards, tau=TAU), 3)[order]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_logged_values_count_a_response_as_often_as_it_is_logged():
    rewards, twice = jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0, 0.0])
    found = logged_values(
        rewards, jnp.zeros(2, int), tau=TAU, weights=jnp.array([2.0, 1.0])
    )
    listed = logged_values(twice, jnp.zeros(3, int), tau=TAU)
    np.testing.assert_allclose(found, listed[1:], rtol=1e-6)
    one_each = TAU * np.log((np.exp(2) + 1) / 2)
    padded = logged_values(
        twice, jnp.zeros(3, int), tau=TAU, weights=jnp.array([1.0, 0.0, 1.0])
    )
    np.testing.assert_allclose(padded, [one_each, 0.0, one_each], rtol=1e-5)


def test_where_all_logprobs_are_equal_rpos_values_are_those_of_samples():
    rewards = draw(2, 4)
    found = rpo_prompt_values(
        jnp.full(8, -3.0), rewards.reshape(-1), jnp.repeat(jnp.arange(2), 4), tau=TAU
    )
    np.testing.assert_allclose(
        found[::4], RPO(TAU).values_of_samples(rewards), rtol=1e-5, atol=1e-6
    )


def test_wrong_shapes_of_samples_are_refused():
    with pytest.raises(ValueError, match=r"shape \[N, K\], got shape \(3,\)"):
        sampled_values(jnp.zeros(3), tau=TAU)
    with pytest.raises(ValueError, match="tau must be a positive number"):
        sampled_values(jnp.zeros((3, 2)), tau=0.0)
