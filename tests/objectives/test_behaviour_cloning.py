import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dro_jax.objectives import NLL, Trajectories, nll


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
