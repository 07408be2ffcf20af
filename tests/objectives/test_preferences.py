"""DPO, IPO and PRO: hand-derived numbers and limits (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import dpo, ipo, pro

# By hand: ℓ_w = ln 3, ℓ_l = 0, so σ(ℓ_w − ℓ_l) = 3/4.
LN3 = float(np.log(3))
PAIR = tuple(jnp.array([x]) for x in (-1.0, -2.0, -1.0 - LN3, -2.0))


def test_golden_pairs():
    np.testing.assert_allclose(dpo(*PAIR, beta=1.0), [np.log(4 / 3)], rtol=1e-6)
    np.testing.assert_allclose(ipo(*PAIR, tau=0.25), [(LN3 - 2) ** 2], rtol=1e-6)


def test_pairs_at_step_zero_and_at_the_optimum():
    same = (PAIR[0], PAIR[1], PAIR[0], PAIR[1])
    np.testing.assert_allclose(dpo(*same), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(ipo(*same, tau=0.5), 1.0)
    np.testing.assert_allclose(ipo(*PAIR, tau=1 / (2 * LN3)), 0, atol=1e-12)


def test_pairs_limits_in_beta_and_tau():
    np.testing.assert_allclose(dpo(*PAIR, beta=1e-9), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(ipo(*PAIR, tau=1e9), LN3**2, rtol=1e-5)


def test_pairs_are_preferred_one_way():
    for loss in (dpo, lambda *x: ipo(*x, tau=0.1)):
        chosen, rejected = jax.grad(lambda *x, f=loss: jnp.sum(f(*x)), (0, 1))(*PAIR)
        assert chosen[0] < 0 < rejected[0]
        np.testing.assert_allclose(chosen, -rejected)


# By hand: s = (−1, −2, −4), r = (3, 2, 0). First response: T = 1, 3, T_1 = 3, so
# log(e⁻³ + e⁻² + e⁻¹²) + 3. Second: T_2 = 2, log(e⁻⁴ + e⁻⁸) + 4. The third adds 0.
SCORES = jnp.array([[-1.0, -2.0, -4.0]])
REWARDS = jnp.array([[3.0, 2.0, 0.0]])
RANKING = np.log(np.exp(-3) + np.exp(-2) + np.exp(-12)) + 3
RANKING += np.log(np.exp(-4) + np.exp(-8)) + 4
BEST = jnp.array([10.0])


def test_golden_list():
    expected = RANKING + 0.05 * 4 * 10
    np.testing.assert_allclose(pro(SCORES, REWARDS, BEST), [expected], rtol=1e-6)
    np.testing.assert_allclose(
        pro(SCORES, REWARDS, BEST, sft_weight=0.0), [RANKING], rtol=1e-6
    )


def test_missing_responses_shorten_the_list():
    for shown in (1, 2):
        weights = (jnp.arange(3) < shown).astype(jnp.float32)[None]
        whole = pro(SCORES.at[0, shown:].set(jnp.nan), REWARDS, BEST, weights=weights)
        part = pro(SCORES[:, :shown], REWARDS[:, :shown], BEST)
        np.testing.assert_allclose(whole, part, rtol=1e-6)
    np.testing.assert_array_equal(pro(SCORES[:, :1], REWARDS[:, :1], BEST), 0)
    np.testing.assert_array_equal(
        pro(SCORES, REWARDS, BEST, weights=jnp.zeros((1, 3))), 0
    )


def test_limit_two_responses_are_a_logistic_loss():
    # K = 2: T_1 = T_12, so the loss is −log σ(T (s_1 − s_2)), DPO without reference.
    losses = pro(SCORES[:, :2], REWARDS[:, :2] * 1.5, BEST, sft_weight=0.0)
    zero = jnp.zeros(1)
    expected = dpo(SCORES[:, 0], SCORES[:, 1], zero, zero, beta=1.5)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_equal_rewards_order_nothing():
    gradient = jax.grad(lambda s: jnp.sum(pro(s, jnp.ones((1, 3)), BEST)))(SCORES)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e4])
def test_scores_and_rewards_of_any_size_stay_finite(scale):
    def loss(scores):
        return jnp.sum(pro(scores, REWARDS * scale, BEST))

    value, gradient = jax.value_and_grad(loss)(SCORES * scale)
    assert np.isfinite(value) and np.isfinite(gradient).all()
