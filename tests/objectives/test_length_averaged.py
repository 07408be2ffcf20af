"""SimPO and ORPO: pairs, means over tokens (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import ORPO, SimPO, Trajectories, dpo, orpo, simpo

# By hand: s_w = ln ½, s_l = ln ¼; odds 1 and ⅓.
CHOSEN, REJECTED = jnp.log(jnp.array([0.5])), jnp.log(jnp.array([0.25]))


def test_golden():
    # β = 2: σ(2 ln 2) = 4/5; γ = ln 4 takes it to ½.
    np.testing.assert_allclose(
        simpo(CHOSEN, REJECTED, beta=2.0, gamma=0.0), [np.log(5 / 4)], rtol=1e-6
    )
    np.testing.assert_allclose(
        simpo(CHOSEN, REJECTED, beta=2.0, gamma=np.log(4)), [np.log(2)], rtol=1e-6
    )
    # odds ratio 3: σ(ln 3) = ¾.
    np.testing.assert_allclose(
        orpo(CHOSEN, REJECTED, odds_weight=0.5),
        [np.log(2) + 0.5 * np.log(4 / 3)],
        rtol=1e-6,
    )


def test_limits():
    zero = jnp.zeros(1)
    np.testing.assert_allclose(
        simpo(CHOSEN, REJECTED, beta=0.3, gamma=0.0),
        dpo(CHOSEN, REJECTED, zero, zero, beta=0.3),
        rtol=1e-6,
    )
    np.testing.assert_allclose(orpo(CHOSEN, REJECTED, odds_weight=0.0), -CHOSEN)


@pytest.mark.parametrize("chosen", [0.0, -1e-9, -1e-4, -40.0])
@pytest.mark.parametrize("rejected", [0.0, -1e-9, -1e-4, -40.0])
def test_odds_of_sure_and_of_hopeless_responses_stay_finite(chosen, rejected):
    arrays = jnp.array([chosen]), jnp.array([rejected])
    value, slopes = jax.value_and_grad(
        lambda *x: jnp.sum(orpo(*x, odds_weight=1.0)), argnums=(0, 1)
    )(*arrays)
    assert np.isfinite(value) and np.isfinite(slopes).all()


def test_log_odds_keep_their_digits_near_one():
    # log odds(−1e-4) = −1e-4 − log(1 − e^{−1e-4}), of which float32's 1 − e^s has 3 digits.
    near, far = jnp.array([-1e-4]), jnp.array([-30.0])
    expected = 1e-4 - np.log(1 / (1 + np.exp(-(-1e-4 - np.log(-np.expm1(-1e-4)) + 30))))
    np.testing.assert_allclose(orpo(near, far, odds_weight=1.0), [expected], rtol=1e-6)
    slope = jax.grad(lambda s: jnp.sum(orpo(near, s, odds_weight=1.0)))(near)
    np.testing.assert_allclose(slope, [0.5 / -np.expm1(-1e-4)], rtol=1e-5)


def trajectories(rewards):
    """Two responses to a prompt, of 4 tokens and of 8, as sums."""
    return Trajectories(
        policy_logprobs=jnp.array([4 * np.log(0.5), 8 * np.log(0.25)], "float32"),
        rewards=jnp.asarray(rewards),
        weights=jnp.ones(2),
        lengths=jnp.array([4.0, 8.0]),
        group_size=2,
    )


def test_sums_are_divided_by_lengths_and_a_pair_stands_at_both():
    pair = trajectories([1.0, 0.0])
    for objective, loss in (
        (SimPO(2.0, 0.5), simpo(CHOSEN, REJECTED, beta=2.0, gamma=0.5)),
        (ORPO(0.5), orpo(CHOSEN, REJECTED, odds_weight=0.5)),
    ):
        found = objective(pair)
        np.testing.assert_allclose(found.policy, [loss[0], loss[0]], rtol=1e-6)
        np.testing.assert_array_equal(found.terms["pair_rate"], 1)
        np.testing.assert_array_equal(found.terms["rewards/accuracies"], 1)
    np.testing.assert_allclose(
        SimPO(2.0)(pair).terms["rewards/margins"], 2 * np.log(2), rtol=1e-6
    )


def test_equal_rewards_are_no_pair():
    for objective in (SimPO(), ORPO()):
        np.testing.assert_array_equal(objective(trajectories([1.0, 1.0])).policy, 0)
