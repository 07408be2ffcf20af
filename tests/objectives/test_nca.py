"""Noise contrastive alignment (formula: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import nca

# By hand: βℓ = (ln 3, 0), σ = (3/4, 1/2); p = (2/3, 1/3) of r = (ln 2, 0).
PAIR = [
    jnp.array([x]) for x in ([-1.0, -2.0], [-1.0 - np.log(3), -2.0], [np.log(2), 0.0])
]


def test_golden():
    raised = 2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2)
    held = 0.5 * (np.log(4) + np.log(2))
    np.testing.assert_allclose(
        nca(*PAIR, beta=1.0, alpha=1.0), [raised + held], rtol=1e-6
    )


def test_of_two_at_a_low_temperature_it_is_nca_of_preferences():
    # The released code of pairs: −log σ(βℓ_w) − ½ log σ(−βℓ_w) − ½ log σ(−βℓ_l).
    expected = np.log(4 / 3) + 0.5 * np.log(4) + 0.5 * np.log(2)
    np.testing.assert_allclose(nca(*PAIR, beta=1.0, alpha=1e-4), [expected], rtol=1e-6)


def test_the_four_scores_of_the_released_code():
    """−mean log σ(−βℓ) − Σ softmax(r/α) log σ(βℓ), of a prompt with four responses."""
    rng = np.random.default_rng(0)
    policy, reference = -5 * rng.random((2, 1, 4))
    scores = np.array([[7.0, 6.5, 3.0, 8.0]])
    implicit = 0.3 * (policy - reference)
    labels = np.exp(scores / 2) / np.exp(scores / 2).sum()
    expected = np.log1p(np.exp(implicit)).mean()
    expected += (labels * np.log1p(np.exp(-implicit))).sum()
    found = nca(
        *(jnp.asarray(x, jnp.float32) for x in (policy, reference, scores)),
        beta=0.3,
        alpha=2.0,
    )
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_at_the_start_equal_rewards_pull_nowhere():
    policy = jnp.array([[-3.0, -4.0, -5.0]])
    slopes = jax.grad(
        lambda p: jnp.sum(nca(p, policy, jnp.ones((1, 3)), beta=0.1, alpha=1.0))
    )(policy)
    np.testing.assert_allclose(slopes, 0, atol=1e-8)


def test_a_response_is_raised_as_its_share_is_above_the_mean():
    policy = jnp.array([[-3.0, -4.0, -5.0]])
    rewards = jnp.array([[1.0, 0.0, -1.0]])
    slopes = jax.grad(lambda p: jnp.sum(nca(p, policy, rewards, beta=1.0, alpha=1.0)))(
        policy
    )
    shares = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    # At ℓ = 0 both logistic slopes are ½.
    np.testing.assert_allclose(slopes[0], -(shares - 1 / 3) / 2, rtol=1e-5)


def test_with_all_responses_the_optimum_is_where_it_is_flat():
    # A list of all 5 equally likely responses: K p = exp(r/α) / mean exp(r/α).
    rewards = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5)), jnp.float32)
    reference = jnp.full((1, 5), -np.log(5), jnp.float32)
    optimum = jax.nn.log_softmax(reference + rewards / 0.7)
    slopes = jax.grad(
        lambda p: jnp.sum(nca(p, reference, rewards, beta=1.0, alpha=0.7))
    )(optimum)
    np.testing.assert_allclose(slopes, 0, atol=1e-6)


def test_a_list_of_one_or_none_teaches_nothing():
    def loss(policy, weights):
        of_list = nca(policy, *PAIR[1:], beta=1.0, alpha=1.0, weights=weights)
        return jnp.sum(of_list)

    for weights in ([[1.0, 0.0]], [[0.0, 0.0]]):
        value, slopes = jax.value_and_grad(loss)(PAIR[0], jnp.array(weights))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(slopes, 0)
