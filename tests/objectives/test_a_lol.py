"""A-LoL and its kin: hand-derived numbers and limits (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import (
    a_lol,
    a_lol_kl,
    a_lol_ref_free,
    a_lol_seq,
    nll,
    r_lol,
    weighted_bc,
)

# By hand: π = 1/4, 1/4, 1/4 against π_ref = 1/2, 1/16, 1/4: w = ½, 4 (held at 1.9), 1.
POLICY = jnp.log(jnp.array([0.25, 0.25, 0.25]))
REFERENCE = jnp.log(jnp.array([0.5, 0.0625, 0.25]))
ADVANTAGES = jnp.array([2.0, 1.0, -1.0])
SURPRISE = np.log(4)


def test_golden():
    np.testing.assert_allclose(
        r_lol(POLICY, REFERENCE, ADVANTAGES),
        SURPRISE * np.array([2 * 0.5, 1.9, -1.0]),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        a_lol(POLICY, REFERENCE, ADVANTAGES),
        SURPRISE * np.array([2 * 0.5, 1.9, 0.0]),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        a_lol_kl(POLICY, REFERENCE, ADVANTAGES, beta=0.5),
        [2 * SURPRISE - 0.5 * np.log(2), SURPRISE + 0.5 * np.log(4), 0.0],
        rtol=1e-6,
    )


def test_golden_by_token():
    # Two tokens with w_t = ½ and 4, the latter held at 1.9; a third is padding.
    losses = a_lol_seq(
        POLICY[None], REFERENCE[None], jnp.array([[1.0, 1.0, 0.0]]), jnp.array([3.0])
    )
    np.testing.assert_allclose(losses, [3 * (0.5 + 1.9) * SURPRISE], rtol=1e-6)


def test_step_zero_has_no_importance_weights():
    # ℓ = 0, so w = w_t = 1 exactly, and all four are the reference-free one.
    expected = a_lol_ref_free(POLICY, ADVANTAGES)
    np.testing.assert_array_equal(a_lol(POLICY, POLICY, ADVANTAGES), expected)
    np.testing.assert_array_equal(
        a_lol_kl(POLICY, POLICY, ADVANTAGES, beta=0.5), expected
    )
    np.testing.assert_array_equal(
        a_lol_seq(POLICY[:, None], POLICY[:, None], jnp.ones((3, 1)), ADVANTAGES),
        expected,
    )
    np.testing.assert_array_equal(
        r_lol(POLICY, POLICY, ADVANTAGES), weighted_bc(POLICY, ADVANTAGES)
    )


def test_limit_unit_advantage_and_no_clip_range_is_nll():
    ones = jnp.ones(3)
    np.testing.assert_array_equal(a_lol(POLICY, REFERENCE, ones, clip=0.0), nll(POLICY))
    np.testing.assert_array_equal(a_lol_ref_free(POLICY, ones), nll(POLICY))


def test_limit_wide_clip_is_the_plain_ratio():
    np.testing.assert_allclose(
        a_lol(POLICY, REFERENCE, jnp.ones(3), clip=1e30),
        SURPRISE * np.array([0.5, 4.0, 1.0]),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        a_lol_seq(
            POLICY[:, None],
            REFERENCE[:, None],
            jnp.ones((3, 1)),
            jnp.ones(3),
            clip=1e30,
        ),
        SURPRISE * np.array([0.5, 4.0, 1.0]),
        rtol=1e-6,
    )


def test_limit_small_beta_is_reference_free():
    np.testing.assert_allclose(
        a_lol_kl(POLICY, REFERENCE, ADVANTAGES, beta=1e-9),
        a_lol_ref_free(POLICY, ADVANTAGES),
        atol=1e-6,
    )


@pytest.mark.parametrize("function", [a_lol, r_lol])
def test_an_unclipped_weight_of_thousands_of_nats_stays_finite(function):
    def loss(policy):
        return jnp.sum(function(policy, jnp.array([-9000.0]), jnp.ones(1), clip=1e30))

    value, gradient = jax.value_and_grad(loss)(jnp.array([-10.0]))
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_negative_advantages_leave_the_penalty_alone():
    gradient = jax.grad(
        lambda p: jnp.sum(a_lol_kl(p, REFERENCE, ADVANTAGES, beta=0.5))
    )(POLICY)
    np.testing.assert_allclose(gradient, [0.5 - 2, 0.5 - 1, 0.5], rtol=1e-6)
    gradient = jax.grad(lambda p: jnp.sum(a_lol(p, REFERENCE, ADVANTAGES)))(POLICY)
    assert gradient[2] == 0
