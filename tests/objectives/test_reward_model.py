"""Losses of reward models: hand-derived numbers and limits (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import (
    BradleyTerry,
    RewardRegression,
    Trajectories,
    bradley_terry,
    dpo,
    reward_regression,
)

LN3 = float(np.log(3))
CHOSEN, REJECTED = jnp.array([LN3]), jnp.array([0.0])


def grouped(scores, rewards, weights, size):
    """Trajectories of a reward model, which have no policy."""
    scores, rewards, weights = (
        jnp.asarray(x, jnp.float32) for x in (scores, rewards, weights)
    )
    return Trajectories(None, rewards, weights, scores=scores, group_size=size)


def test_golden_regression():
    # By hand: (2 − 0.5)², (−1 − 1)².
    found = reward_regression(jnp.array([2.0, -1.0]), jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(found, [2.25, 4.0])


def test_golden_pairs():
    # By hand: σ(ln 3) = 3/4; with a margin of ln 3 the gap is 0.
    np.testing.assert_allclose(
        bradley_terry(CHOSEN, REJECTED), [np.log(4 / 3)], rtol=1e-6
    )
    np.testing.assert_allclose(
        bradley_terry(CHOSEN, REJECTED, margin=jnp.array([LN3])),
        [np.log(2)],
        rtol=1e-6,
    )


def test_regression_on_thumbs_ends_at_the_share_of_thumbs_up():
    # Three of four are up: the minimum of Brier's score is 3/4, and there alone is no
    # gradient.
    thumbs = jnp.array([1.0, 1.0, 1.0, 0.0])

    def loss(score):
        return jnp.mean(reward_regression(jnp.full(4, score), thumbs))

    assert float(jax.grad(loss)(0.75)) == 0
    assert float(jax.grad(loss)(0.5)) < 0 < float(jax.grad(loss)(0.9))


def test_limit_dpo_of_scores_without_reference():
    zero = jnp.zeros(3)
    chosen, rejected = jnp.array([0.2, -1.0, 3.0]), jnp.array([0.5, -2.0, -3.0])
    np.testing.assert_allclose(
        bradley_terry(chosen, rejected),
        dpo(chosen, rejected, zero, zero, beta=1.0),
        rtol=1e-6,
    )


def test_a_prompt_s_own_constant_is_not_seen():
    found = bradley_terry(CHOSEN + 100.0, REJECTED + 100.0)
    np.testing.assert_allclose(found, bradley_terry(CHOSEN, REJECTED), rtol=1e-4)


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_scores_of_any_size_stay_finite(scale):
    for sign in (1.0, -1.0):
        value, gradient = jax.value_and_grad(
            lambda s: jnp.sum(bradley_terry(s, REJECTED))
        )(sign * scale * CHOSEN)
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_a_group_has_the_mean_over_its_pairs():
    # Rewards 2, 1, 1: two pairs, since the last two are alike. By hand: gaps ln 3 and 0.
    batch = grouped([LN3, 0.0, LN3], [2, 1, 1], [1, 1, 1], 3)
    losses = BradleyTerry()(batch)
    wanted = (np.log(4 / 3) + np.log(2)) / 2
    np.testing.assert_allclose(losses.policy, [wanted] * 3, rtol=1e-6)
    np.testing.assert_allclose(losses.terms["pair_rate"], [1, 1, 1])
    np.testing.assert_allclose(losses.terms["scores/margins"], [LN3 / 2] * 3, rtol=1e-6)


def test_a_margin_is_of_the_rewards_difference():
    batch = grouped([LN3, 0.0], [3, 1], [1, 1], 2)
    found = BradleyTerry(margin=0.5)(batch).policy
    wanted = bradley_terry(CHOSEN, REJECTED, margin=1.0)
    np.testing.assert_allclose(found, [wanted[0]] * 2, rtol=1e-6)


def test_equal_rewards_and_empty_places_make_no_pair():
    batch = grouped([1.0, 2.0, 5.0, jnp.nan], [1, 1, 2, 0], [1, 1, 1, 0], 2)
    losses, gradient = jax.value_and_grad(
        lambda s: jnp.sum(
            BradleyTerry()(grouped(s, [1, 1, 2, 0], [1, 1, 1, 0], 2)).policy
        )
    )(batch.scores)
    assert float(losses) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_regression_is_of_each_response():
    batch = grouped([1.0, 2.0], [0.5, 2.0], [1, 1], 1)
    np.testing.assert_allclose(RewardRegression()(batch).policy, [0.25, 0.0])
