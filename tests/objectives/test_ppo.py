"""PPO: rewards by token, advantages and both losses (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import (
    generalized_advantages,
    ppo_clip,
    ppo_token_rewards,
    ppo_value,
    whiten,
)

# A response of three tokens, and one of two with padding before and after.
WEIGHTS = jnp.array([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
JUNK = jnp.where(WEIGHTS > 0, 0.0, jnp.nan)


def draw(seed):
    values = np.random.default_rng(seed).normal(size=WEIGHTS.shape)
    return jnp.asarray(values, jnp.float32) + JUNK


def test_golden_token_rewards():
    old, reference = -jnp.ones((2, 4)) + JUNK, -3 * jnp.ones((2, 4)) + JUNK
    rewards = ppo_token_rewards(
        jnp.array([5.0, 7.0]), old, reference, WEIGHTS, beta=0.5
    )
    np.testing.assert_allclose(rewards, [[-1, -1, 4, 0], [0, -1, 6, 0]])


def test_the_response_of_no_token_has_no_reward():
    nothing = jnp.zeros((1, 4))
    rewards = ppo_token_rewards(jnp.array([5.0]), nothing, nothing, nothing)
    np.testing.assert_array_equal(rewards, 0)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0)])
def test_advantages_equal_the_double_sum(gamma, lam):
    rewards, values = draw(0), draw(1)
    advantages, returns = generalized_advantages(
        rewards, values, WEIGHTS, gamma=gamma, lam=lam
    )
    for row, (start, end) in enumerate([(0, 3), (1, 3)]):
        r = np.asarray(rewards, np.float64)[row]
        v = np.append(np.asarray(values, np.float64)[row, :end], 0.0)
        for t in range(start, end):
            total = 0.0
            for k in range(t, end):
                delta = r[k] + gamma * v[k + 1] - v[k]
                total += (gamma * lam) ** (k - t) * delta
            np.testing.assert_allclose(advantages[row, t], total, rtol=1e-5)
            np.testing.assert_allclose(returns[row, t], total + v[t], rtol=1e-5)
    for result in (advantages, returns):
        np.testing.assert_array_equal(np.where(WEIGHTS > 0, 0, result), 0)


def test_advantages_limits():
    rewards, values = draw(0), draw(1)
    # λ = 1: the return is the sum of the rewards to come, whatever the values.
    _, returns = generalized_advantages(rewards, values, WEIGHTS, lam=1.0)
    np.testing.assert_allclose(returns[0, 0], jnp.sum(rewards[0, :3]), rtol=1e-5)
    # λ = 0: one step.
    advantages, _ = generalized_advantages(rewards, values, WEIGHTS, lam=0.0)
    expected = rewards[0, 0] + values[0, 1] - values[0, 0]
    np.testing.assert_allclose(advantages[0, 0], expected, rtol=1e-5)


def test_nothing_flows_through_rewards_and_advantages():
    def total(rewards, values):
        return sum(map(jnp.sum, generalized_advantages(rewards, values, WEIGHTS)))

    for gradient in jax.grad(total, argnums=(0, 1))(draw(0), draw(1)):
        np.testing.assert_array_equal(gradient, 0)


def test_golden_clip():
    # ρ = 1.5 and ½ with gains +1, −1 on either side: the clamp never raises the gain.
    logprobs = jnp.log(jnp.array([[1.5, 0.5], [1.5, 0.5]]))
    gains = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
    losses = ppo_clip(logprobs, jnp.zeros((2, 2)), jnp.ones((2, 2)), gains)
    np.testing.assert_allclose(losses, [-(1.2 + 0.5), 1.5 + 0.8], rtol=1e-6)


def test_clip_at_step_zero_is_the_policy_gradient():
    logprobs, gains = draw(0), draw(1)
    gradient = jax.grad(lambda p: jnp.sum(ppo_clip(p, logprobs, WEIGHTS, gains)))(
        logprobs
    )
    np.testing.assert_allclose(gradient, np.where(WEIGHTS > 0, -gains, 0), rtol=1e-6)


def test_a_bad_token_that_became_likely_is_still_pushed_down():
    gradient = jax.grad(
        lambda p: jnp.sum(
            ppo_clip(p, jnp.array([[-5000.0]]), jnp.ones((1, 1)), -jnp.ones((1, 1)))
        )
    )(jnp.zeros((1, 1)))
    assert 0 < gradient[0, 0] < jnp.inf


def test_golden_value():
    # V = 1, V_old = 0, R = 2: (1 − 2)² against (0.2 − 2)², the greater, times ½ · 0.1.
    arrays = [jnp.full((1, 1), x) for x in (1.0, 0.0, 2.0, 1.0)]
    np.testing.assert_allclose(ppo_value(*arrays), [0.05 * 1.8**2], rtol=1e-6)
    np.testing.assert_allclose(ppo_value(*arrays, clip=9.0), [0.05], rtol=1e-6)


@pytest.mark.parametrize("keep_mean", [False, True])
def test_whitening(keep_mean):
    values = draw(0)
    kept = np.asarray(values)[np.asarray(WEIGHTS) > 0]
    whitened = whiten(values, WEIGHTS, keep_mean=keep_mean)
    found = np.asarray(whitened)[np.asarray(WEIGHTS) > 0]
    np.testing.assert_allclose(found.std(), 1, rtol=1e-5)
    np.testing.assert_allclose(found.mean(), kept.mean() * keep_mean, atol=1e-6)
    np.testing.assert_array_equal(np.where(WEIGHTS > 0, 0, whitened), 0)
    np.testing.assert_array_equal(whiten(0 * values + 3, WEIGHTS), 0)
