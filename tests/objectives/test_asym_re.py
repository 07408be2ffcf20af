"""Asymmetric REINFORCE (formula: test_formulas.py)."""

import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import AsymRE, Trajectories, asym_re, nll, weighted_bc
from dro_jax.objectives._prompt_values import mean_rewards

LOGPROBS = jnp.array([-2.0, -3.0, -4.0])
REWARDS = jnp.array([1.0, 0.0, 0.5])


def test_golden():
    # A = (½, −½, 0), δ = 0.1: 0.6 · 2, −0.4 · 3, 0.1 · 4.
    np.testing.assert_allclose(
        asym_re(LOGPROBS, REWARDS - 0.5, delta=0.1), [1.2, -1.2, 0.4], rtol=1e-6
    )


def test_a_baseline_of_zero_is_weighted_cloning_and_a_far_one_cloning():
    np.testing.assert_allclose(
        asym_re(LOGPROBS, REWARDS - 0.5, delta=0.5),
        weighted_bc(LOGPROBS, REWARDS),
        rtol=1e-6,
    )
    far = asym_re(LOGPROBS, REWARDS - 0.5, delta=1e6) / 1e6
    np.testing.assert_allclose(far, nll(LOGPROBS), rtol=1e-5)


def test_the_baseline_is_the_prompts_mean_or_the_references_value():
    fields = {
        "policy_logprobs": LOGPROBS,
        "rewards": REWARDS,
        "weights": jnp.ones(3),
        "prompt_values": jnp.array([0.5, 0.5, 0.5]),
        "advantages": jnp.array([2.0, 1.0, 0.0]),
    }
    trajectories = Trajectories(**fields)
    np.testing.assert_allclose(
        AsymRE(0.1)(trajectories).policy, [1.2, -1.2, 0.4], rtol=1e-6
    )
    of_value = AsymRE(0.1, "value")
    np.testing.assert_allclose(of_value(trajectories).policy, [4.2, 3.3, 0.4])
    assert of_value.needs.advantages and not of_value.needs.prompt_values
    assert AsymRE().needs.prompt_values and not AsymRE().needs.reference


def test_mean_rewards_by_hand():
    rewards = jnp.array([1.0, 7.0, 0.0, jnp.nan, 2.0])
    groups = jnp.array([9, 4, 9, 9, 9])
    weights = jnp.array([1.0, 1.0, 2.0, 0.0, 1.0])
    np.testing.assert_allclose(
        mean_rewards(rewards, groups, weights=weights), [0.75, 7.0, 0.75, 0.0, 0.75]
    )
    values = AsymRE().values_of_prompts(rewards, rewards, groups, weights)
    np.testing.assert_allclose(values, [0.75, 7.0, 0.75, 0.0, 0.75])
    with pytest.raises(ValueError, match="one length"):
        mean_rewards(rewards, groups[:2])
