"""PPO: rewards by token, advantages and both losses (formulas: test_formulas.py)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import (
    PPO,
    Rollouts,
    Trajectories,
    generalized_advantages,
    ppo,
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


def rollouts(**changes):
    """Of the two responses above."""
    fields = {
        "rewards": jnp.array([1.0, -0.5]),
        "weights": jnp.ones(2),
        "token_weights": WEIGHTS,
        "token_logprobs": draw(2),
        "reference_token_logprobs": draw(3),
        "token_values": draw(4),
    }
    return Rollouts(**(fields | changes))


def trajectories(**changes):
    """The same two, a step later."""
    fields = {
        "policy_logprobs": jnp.zeros(2),
        "rewards": jnp.array([1.0, -0.5]),
        "weights": jnp.ones(2),
        "token_weights": WEIGHTS,
        "token_logprobs": draw(1),
        "old_token_logprobs": draw(2),
        "reference_token_logprobs": draw(3),
        "token_values": draw(4),
        "old_token_values": draw(5),
        "token_advantages": draw(6),
        "token_returns": draw(7),
    }
    return Trajectories(**(fields | changes))


def test_a_round_is_worth_its_generalised_advantages():
    r = rollouts()
    objective = PPO(beta=0.3, gamma=0.9, lam=0.8, whiten_advantages=False)
    rewards = ppo_token_rewards(
        r.rewards, r.token_logprobs, r.reference_token_logprobs, WEIGHTS, beta=0.3
    )
    expected = generalized_advantages(
        rewards, r.token_values, WEIGHTS, gamma=0.9, lam=0.8
    )
    for found, wanted in zip(objective.of_rollouts(r), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    whitened = dataclasses.replace(objective, whiten_advantages=True)
    found, returns = whitened.of_rollouts(r)
    np.testing.assert_allclose(found, whiten(expected[0], WEIGHTS), rtol=1e-6)
    np.testing.assert_array_equal(returns, expected[1])
    whitened = dataclasses.replace(objective, whiten_rewards=True)
    expected = generalized_advantages(
        whiten(rewards, WEIGHTS, keep_mean=True),
        r.token_values,
        WEIGHTS,
        gamma=0.9,
        lam=0.8,
    )
    np.testing.assert_allclose(whitened.of_rollouts(r)[1], expected[1], rtol=1e-5)


def test_what_is_no_trajectory_whitens_no_other():
    r = rollouts(weights=jnp.array([1.0, 0.0]))
    alone = jax.tree.map(lambda x: x[:1], rollouts())
    found, _ = PPO(whiten_rewards=True).of_rollouts(r)
    expected, _ = PPO(whiten_rewards=True).of_rollouts(alone)
    np.testing.assert_allclose(found[:1], expected, rtol=1e-5)


def test_the_objective_is_its_loss():
    t = trajectories()
    losses = PPO(0.1, 0.3, 0.7)(t)
    expected = ppo(
        t.token_logprobs,
        t.old_token_logprobs,
        WEIGHTS,
        t.token_advantages,
        t.token_values,
        t.old_token_values,
        t.token_returns,
        clip=0.1,
        value_clip=0.3,
        value_coefficient=0.7,
    )
    np.testing.assert_array_equal(losses.policy, expected[0])
    np.testing.assert_array_equal(losses.value, expected[1])


def test_a_mean_over_tokens_is_published_codes():
    """Σ over all present tokens / their number, as a mean over trajectories."""
    t = trajectories()
    sums = PPO()(t).total
    means = PPO(token_mean=True)(t).total
    np.testing.assert_allclose(jnp.mean(means), jnp.sum(sums) / 5, rtol=1e-6)
    # One that is not there counts no tokens.
    weights = jnp.array([0.0, 1.0])
    alone = PPO(token_mean=True)(dataclasses.replace(t, weights=weights)).total
    np.testing.assert_allclose(alone[1], sums[1] / 2, rtol=1e-6)


def test_golden_adaptive_beta():
    """By hand: KL 3 against 2 is off by 0.5, of which 0.2 counts; 2 of 10 trajectories."""
    objective = PPO(beta=0.5, kl_target=2.0, kl_horizon=10)
    assert objective.needs.running == ("log_kl_scale",) and objective.needs.whole_batch
    reference = draw(2) - jnp.array([[1.0], [1.5]])  # three nats of three, two tokens
    scale = {"log_kl_scale": jnp.log(jnp.float32(1.5))}
    t = trajectories(reference_token_logprobs=reference, running=scale)
    np.testing.assert_allclose(t.old_log_ratios, [3, 3], rtol=1e-5)
    losses = objective(t)
    np.testing.assert_allclose(losses.terms["kl_coefficient"], 0.75, rtol=1e-6)
    found = jnp.exp(losses.running["log_kl_scale"])
    np.testing.assert_allclose(found, 1.5 * (1 + 0.2 * 2 / 10), rtol=1e-6)
    # 3 against 3.16 is off by −0.05; a batch of more than the horizon counts as one.
    near = dataclasses.replace(objective, kl_target=3 / 0.95, kl_horizon=1)
    found = jnp.exp(near(t).running["log_kl_scale"])
    np.testing.assert_allclose(found, 1.5 * 0.95, rtol=1e-5)
    held_out = dataclasses.replace(t, held_out=True)
    assert objective(held_out).running == scale
    # And the penalty that a round pays is of β as it stands.
    r = rollouts(running=scale)
    fixed = dataclasses.replace(objective, beta=0.75, kl_target=None)
    for one, other in zip(objective.of_rollouts(r), fixed.of_rollouts(r), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_fixed_beta_carries_nothing():
    assert PPO().needs.running == () and not PPO().needs.whole_batch
    assert PPO()(trajectories()).running == {}


def test_golden_terms():
    """ρ = 2, ½, 1 with gains +1, −1, −1: two are clipped, whatever the last one."""
    log2 = float(np.log(2))
    t = Trajectories(
        policy_logprobs=jnp.zeros(1),
        rewards=jnp.zeros(1),
        weights=jnp.ones(1),
        token_weights=jnp.array([[1.0, 1.0, 1.0, 0.0]]),
        token_logprobs=jnp.array([[log2, -log2, 0.0, jnp.nan]]) - 1,
        old_token_logprobs=jnp.array([[-1.0, -1.0, -1.0, jnp.nan]]),
        reference_token_logprobs=jnp.array([[-2.0, -2.0, -2.0, jnp.nan]]),
        token_values=jnp.array([[1.0, 0.1, 0.0, jnp.nan]]),
        old_token_values=jnp.array([[0.0, 0.0, 0.0, jnp.nan]]),
        token_advantages=jnp.array([[1.0, -1.0, -1.0, jnp.nan]]),
        token_returns=jnp.array([[1.0, 1.0, 1.0, jnp.nan]]),
    )
    terms = {name: float(x[0]) for name, x in PPO()(t).terms.items()}
    assert terms == pytest.approx(
        {
            "importance_weight": 3.5 / 3,
            "importance_weight/clip_fraction": 2 / 3,
            "kl/old": log2**2 / 3,
            "value/clip_fraction": 1 / 3,
            "advantage": -1 / 3,
            "return": 1.0,
            "entropy": 3.0,
            "kl_coefficient": 0.05,
        }
    )
