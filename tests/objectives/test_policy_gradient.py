"""TOPR and PMPO: hand-derived numbers and limits (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import nll, pmpo, topr, weighted_bc

# By hand: ℓ = ln 3, −ln 2, −ln 2.
POLICY = jnp.array([-1.0, -2.0, -3.0])
REFERENCE = POLICY - jnp.log(jnp.array([3.0, 0.5, 0.5]))
LABELS = jnp.array([True, False, False])


def test_golden_topr():
    # Only the negative reward of the second is tapered, by ½; that of ratio 3 is held.
    losses = topr(POLICY, REFERENCE, jnp.array([-1.0, -1.0, 2.0]))
    np.testing.assert_allclose(losses, [-1.0, -0.5 * 2, 2 * 3], rtol=1e-6)


def test_topr_limits():
    rewards = jnp.array([2.0, -1.0, 0.0])
    np.testing.assert_array_equal(
        topr(POLICY, POLICY, rewards), weighted_bc(POLICY, rewards)
    )
    faded = jax.grad(lambda p: jnp.sum(topr(p, jnp.zeros(3), -jnp.ones(3))))(
        jnp.full(3, -200.0)
    )
    np.testing.assert_array_equal(faded, 0)


def test_golden_pmpo():
    # −½·(−1) + ½·(−2 − 3)/2 + 0.1·(−ln 3 + ln 2 + ln 2)/3.
    losses = pmpo(POLICY, REFERENCE, LABELS, alpha=0.5, beta=0.1)
    expected = 0.5 - 1.25 + 0.1 * np.log(4 / 3) / 3
    np.testing.assert_allclose(jnp.mean(losses), expected, rtol=1e-6)


def test_pmpo_weights_are_those_of_the_mean():
    weights = jnp.array([1.0, 1.0, 0.0])
    whole = pmpo(POLICY, REFERENCE, LABELS, alpha=0.3, beta=0.1, weights=weights)
    part = pmpo(POLICY[:2], REFERENCE[:2], LABELS[:2], alpha=0.3, beta=0.1)
    np.testing.assert_allclose(whole[:2], part, rtol=1e-6)


def test_pmpo_limits():
    all_good = jnp.ones(3, bool)
    np.testing.assert_allclose(
        pmpo(POLICY, REFERENCE, all_good, alpha=1.0, beta=0.0), nll(POLICY)
    )
    # A missing class adds nothing: with α = 1 the undesirable have no loss at all.
    np.testing.assert_array_equal(
        pmpo(POLICY, REFERENCE, ~all_good, alpha=1.0, beta=0.0), 0
    )
    none = pmpo(POLICY, REFERENCE, LABELS, alpha=0.5, beta=0.1, weights=jnp.zeros(3))
    assert np.isfinite(none).all()


def test_pmpo_kl_is_unbiased_on_the_reference_in_value_and_gradient():
    # All responses, weighted by π_ref, stand for samples of it.
    rng = np.random.default_rng(0)
    reference = jnp.asarray(rng.dirichlet(np.ones(6)), jnp.float32)
    logits = jnp.asarray(rng.normal(size=6), jnp.float32)
    labels = jnp.arange(6) < 3

    def term(logits, beta):
        policy = jax.nn.log_softmax(logits)
        losses = pmpo(
            policy, jnp.log(reference), labels, alpha=0.5, beta=beta, weights=reference
        )
        return jnp.sum(losses * reference)

    def kl(logits):
        policy = jax.nn.log_softmax(logits)
        return jnp.sum(reference * (jnp.log(reference) - policy))

    np.testing.assert_allclose(
        term(logits, 2.0) - term(logits, 1.0), kl(logits), rtol=1e-5
    )
    gradient = jax.grad(term)
    np.testing.assert_allclose(
        gradient(logits, 2.0) - gradient(logits, 1.0), jax.grad(kl)(logits), atol=1e-6
    )
