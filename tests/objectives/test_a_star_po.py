"""A*-PO: the regression, and V̂ at its two temperatures (formula: test_formulas.py)."""

import jax.numpy as jnp
import numpy as np

from dro_jax.objectives import (
    AStarPO,
    a_star_po,
    dro,
    logged_values,
    rpo,
)

TAU = 0.5


def draw(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def test_golden():
    # ℓ = 1, r = 1, V̂ = ¼: (½ − ¾)² = 1/16.
    one = [jnp.array([x]) for x in (-2.0, -3.0, 1.0, 0.25)]
    np.testing.assert_allclose(a_star_po(*one, tau=TAU), [1 / 16], rtol=1e-6)


def test_it_is_dro_twice_with_the_value_fixed_and_rpo_at_another_scale():
    arrays = draw(4, 6)
    found = a_star_po(*arrays, tau=TAU)
    np.testing.assert_allclose(found, 2 * dro(*arrays, tau=TAU), rtol=1e-5)
    np.testing.assert_allclose(found, 2 * TAU**2 * rpo(*arrays, tau=TAU), rtol=1e-4)


def test_a_prompts_values_are_of_its_own_temperature():
    rewards, groups = draw(6), jnp.zeros(6, jnp.int32)
    logprobs = draw(6, seed=1)
    own = AStarPO(tau=TAU).values_of_prompts(logprobs, rewards, groups)
    np.testing.assert_array_equal(own, logged_values(rewards, groups, tau=TAU))
    other = AStarPO(tau=1e-3, value_tau=TAU)
    np.testing.assert_array_equal(
        other.values_of_prompts(logprobs, rewards, groups), own
    )
    np.testing.assert_allclose(
        other.values_of_samples(rewards[None]), own[:1], rtol=1e-6
    )
