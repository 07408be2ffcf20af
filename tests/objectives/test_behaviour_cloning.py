import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dro_jax.objectives import NLL, Trajectories, awr, nll, r_gold, weighted_bc


def test_golden():
    # By hand: a response of probabilities 1/2 and 1/4 has NLL ln 2 + ln 4 = 3 ln 2.
    logprobs = jnp.log(jnp.array([0.5 * 0.25, 1.0]))
    np.testing.assert_allclose(nll(logprobs), [3 * np.log(2), 0.0], rtol=1e-6)


def test_equals_a_loop_over_tokens():
    token_logprobs = -np.random.default_rng(0).random((4, 7)).astype(np.float32)
    slow = []
    for row in token_logprobs:
        total = 0.0
        for token in row:
            total -= float(token)
        slow.append(total)
    np.testing.assert_allclose(nll(jnp.asarray(token_logprobs.sum(1))), slow, rtol=1e-6)


def test_gradient_is_numerical():
    check_grads(lambda x: jnp.sum(nll(x)), (jnp.array([-1.0, -2.5]),), order=1)


def test_rewards_get_no_gradient_and_do_not_matter():
    def loss(rewards):
        ones = jnp.ones(3)
        batch = Trajectories(policy_logprobs=-ones, rewards=rewards, weights=ones)
        return jnp.sum(NLL()(batch).policy)

    np.testing.assert_array_equal(jax.grad(loss)(jnp.arange(3.0)), 0)


def test_sums_and_never_averages_over_tokens():
    # Twice as many tokens of the same probability cost twice as much.
    per_token = np.log(0.5)
    losses = nll(jnp.array([4 * per_token, 8 * per_token], jnp.float32))
    np.testing.assert_allclose(losses[1], 2 * losses[0], rtol=1e-6)


def test_limit_a_certain_response_costs_nothing():
    assert float(nll(jnp.zeros(1))[0]) == 0.0


def test_wrong_rank_is_refused():
    with pytest.raises(ValueError, match=r"shape \[N\], got shape \(2, 1\)"):
        nll(jnp.zeros((2, 1)))


# By hand: tokens of probability 1/2 and 1/20, reward 3; the second is below the floor
# of 1/10, so it weighs 1/10.
TOKENS = jnp.log(jnp.array([[0.5, 0.05]]))
ONES = jnp.ones((1, 2))


def test_golden_weighted():
    three = jnp.array([3.0])
    np.testing.assert_allclose(
        weighted_bc(jnp.sum(TOKENS, axis=1), three), [3 * np.log(40)], rtol=1e-6
    )
    np.testing.assert_allclose(
        r_gold(TOKENS, ONES, three),
        [3 * (0.5 * np.log(2) + 0.1 * np.log(20))],
        rtol=1e-6,
    )
    # exp(A/β) = e² is capped at 5, e⁻² is not.
    np.testing.assert_allclose(
        awr(-jnp.ones(2), jnp.array([1.0, -1.0]), beta=0.5, max_weight=5.0),
        [5.0, np.exp(-2)],
        rtol=1e-6,
    )


def test_limits_that_are_other_losses():
    logprobs = jnp.sum(TOKENS, axis=1)
    one, three = jnp.ones(1), jnp.array([3.0])
    np.testing.assert_array_equal(weighted_bc(logprobs, one), nll(logprobs))
    np.testing.assert_allclose(
        r_gold(TOKENS, ONES, three, floor=1.0), weighted_bc(logprobs, three), rtol=1e-6
    )
    np.testing.assert_allclose(
        awr(logprobs, three, beta=1e6, max_weight=2.0), nll(logprobs), rtol=1e-5
    )


def test_gold_learns_nothing_new_from_what_stands_at_padding():
    weights = jnp.array([[1.0, 0.0]])
    for junk in (-jnp.inf, jnp.nan, -3.0):
        tokens = TOKENS.at[0, 1].set(junk)
        loss = r_gold(tokens, weights, jnp.ones(1))
        alone = r_gold(TOKENS[:, :1], ONES[:, :1], ONES[0, :1])
        np.testing.assert_array_equal(loss, alone)


@pytest.mark.parametrize("advantage", [-1e30, 1e30])
def test_advantages_of_any_size_are_capped(advantage):
    losses = awr(-jnp.ones(1), jnp.array([advantage]), beta=1e-3, max_weight=20.0)
    np.testing.assert_array_equal(losses, [0.0 if advantage < 0 else 20.0])
