"""RPO and QRPO, and what they know of each prompt (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import (
    dro,
    qrpo,
    qrpo_log_partition,
    quantiles,
    rpo,
    rpo_prompt_values,
)

TAU = 0.5


def finite_space(prompts=3, responses=5):
    rng = np.random.default_rng(0)
    reference = rng.dirichlet(np.ones(responses), prompts).astype(np.float32)
    rewards = rng.normal(size=(prompts, responses)).astype(np.float32)
    groups = np.repeat(np.arange(prompts) * 7 - 3, responses)
    return jnp.asarray(reference), jnp.asarray(rewards), jnp.asarray(groups)


def test_golden():
    # ℓ = 1, r = 1, V̂ = ¼: ½ (1 − 0.75/0.5)² = ⅛.
    one = [jnp.array([x]) for x in (-2.0, -3.0, 1.0, 0.25)]
    np.testing.assert_allclose(rpo(*one, tau=TAU), [0.125], rtol=1e-6)
    # β = 1: (½ − log(e − 1) − 1)².
    np.testing.assert_allclose(
        qrpo(one[0], one[1], jnp.array([0.5]), beta=1.0),
        [(0.5 + np.log(np.e - 1)) ** 2],
        rtol=1e-5,
    )


def test_rpo_is_dro_over_tau_squared():
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=4), jnp.float32) for _ in range(4)]
    np.testing.assert_allclose(
        rpo(*arrays, tau=TAU), dro(*arrays, tau=TAU) / TAU**2, rtol=1e-4
    )


def test_with_all_responses_the_value_is_exact_and_the_optimum_has_no_residual():
    reference, rewards, groups = finite_space()
    values = rpo_prompt_values(
        jnp.log(reference).ravel(), rewards.ravel(), groups, tau=TAU
    )
    exact = TAU * np.log(
        np.sum(np.float64(reference) * np.exp(np.float64(rewards) / TAU), axis=1)
    )
    np.testing.assert_allclose(values, np.repeat(exact, 5), rtol=1e-5)
    optimum = jnp.log(reference) + (rewards - values.reshape(3, 5)) / TAU
    losses = rpo(
        optimum.ravel(), jnp.log(reference).ravel(), rewards.ravel(), values, tau=TAU
    )
    np.testing.assert_allclose(losses, 0, atol=1e-9)


def test_prompt_values_by_hand():
    # p = (¼, ¾) of prompt 9, r = (τ ln 2, 0): V̂ = τ log(½ + ¾). Prompt 4 has one.
    logprobs = jnp.log(jnp.array([0.1, 0.5, 0.3]))
    rewards = jnp.array([TAU * np.log(2), 7.0, 0.0], jnp.float32)
    groups = jnp.array([9, 4, 9])
    values = rpo_prompt_values(logprobs, rewards, groups, tau=TAU)
    shared = TAU * np.log(1.25)
    np.testing.assert_allclose(values, [shared, 7.0, shared], rtol=1e-6)
    plain = rpo_prompt_values(logprobs, rewards, groups, tau=TAU, normalized=False)
    shared = TAU * np.log(0.1 * 2 + 0.3)
    np.testing.assert_allclose(
        plain, [shared, 7 + TAU * np.log(0.5), shared], rtol=1e-6
    )


def test_prompt_values_ignore_padding_order_and_jit():
    reference, rewards, groups = finite_space()
    flat = (jnp.log(reference).ravel(), rewards.ravel(), groups)
    expected = rpo_prompt_values(*flat, tau=TAU)
    order = np.random.default_rng(1).permutation(len(expected))
    padded = [jnp.concatenate([x[order], x[:2]]) for x in flat]
    padded[0] = padded[0].at[-2:].set(jnp.nan)
    weights = jnp.ones(len(order) + 2).at[-2:].set(0)
    values = jax.jit(rpo_prompt_values, static_argnames="tau")(
        *padded, tau=TAU, weights=weights
    )
    np.testing.assert_allclose(values[:-2], expected[order], rtol=1e-5)
    np.testing.assert_array_equal(values[-2:], 0)


def test_prompt_values_of_extreme_numbers():
    logprobs = jnp.array([-5000.0, -5001.0, -3.0, -4000.0])
    rewards = jnp.array([1.0, -1.0, 1e4, -1e4])
    groups = jnp.array([0, 0, 1, 1])
    values = rpo_prompt_values(logprobs, rewards, groups, tau=1e-2)
    p = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(values[0], 1 + 1e-2 * np.log(p), rtol=1e-5)
    np.testing.assert_allclose(values[2], 1e4, rtol=1e-6)

    def total(logprobs, rewards):
        return jnp.sum(rpo_prompt_values(logprobs, rewards, groups, tau=1.0))

    for gradient in jax.grad(total, argnums=(0, 1))(logprobs, rewards):
        np.testing.assert_array_equal(gradient, 0)


def test_prompt_values_limits_in_tau():
    reference, rewards, groups = finite_space()
    flat = (jnp.log(reference).ravel(), rewards.ravel(), groups)
    mean = np.sum(np.asarray(reference) * np.asarray(rewards), axis=1)
    np.testing.assert_allclose(rpo_prompt_values(*flat, tau=1e3)[::5], mean, atol=2e-3)
    np.testing.assert_allclose(
        rpo_prompt_values(*flat, tau=1e-3)[::5], jnp.max(rewards, axis=1), atol=1e-2
    )


@pytest.mark.parametrize("beta", [0.002, 0.05, 1.0, 30.0])
def test_log_partition_is_the_integral(beta):
    edges = np.linspace(0, 1, 200_001)
    points = (edges[1:] + edges[:-1]) / 2
    exponents = points / beta
    exact = exponents[-1] + np.log(np.mean(np.exp(exponents - exponents[-1])))
    np.testing.assert_allclose(qrpo_log_partition(beta), exact, rtol=2e-5)


def test_log_partition_where_the_printed_one_is_good_and_where_not():
    assert np.isfinite(qrpo_log_partition(1e-6))
    printed = np.log(0.05) + 1 / 0.05
    np.testing.assert_allclose(qrpo_log_partition(0.05), printed, rtol=1e-6)
    assert abs(qrpo_log_partition(2.0) - (np.log(2) + 0.5)) > 0.1
    with pytest.raises(ValueError, match="beta must be a positive number"):
        qrpo_log_partition(0.0)


def test_qrpo_has_no_residual_at_the_optimum():
    # 4,000 equally likely responses, of quantiles all but evenly spread over [0, 1].
    number, beta = 4000, 0.3
    reference = jnp.full(number, -np.log(number), jnp.float32)
    rewards, groups = np.arange(number, dtype=np.float32), np.zeros(number, int)
    q = jnp.asarray(quantiles(rewards, groups, rewards, groups))
    optimum = jax.nn.log_softmax(reference + q / beta)
    np.testing.assert_allclose(qrpo(optimum, reference, q, beta=beta), 0, atol=1e-6)


def test_quantiles_by_hand_and_by_loop():
    rewards, groups = np.array([0.5, 2.0, -1.0, 1.0]), np.array([3, 3, 3, -8])
    reference = np.array([0.0, 0.5, 0.5, 1.0, 1.0])
    reference_groups = np.array([3, 3, 3, 3, -8])
    np.testing.assert_array_equal(
        quantiles(rewards, groups, reference, reference_groups), [0.75, 1.0, 0.0, 1.0]
    )
    rng = np.random.default_rng(0)
    rewards, groups = rng.integers(0, 5, 50) / 2, rng.integers(0, 6, 50)
    reference, reference_groups = rng.integers(0, 5, 90) / 2, rng.integers(0, 6, 90)
    slow = [
        np.mean([q <= r for q in reference[reference_groups == g]])
        for r, g in zip(rewards, groups, strict=True)
    ]
    found = quantiles(rewards, groups, reference, reference_groups)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow, rtol=1e-6)


def test_wrong_groups_are_refused():
    rewards, groups = np.zeros(3, np.float32), np.array([0, 1, 2])
    with pytest.raises(
        ValueError, match=r"1 groups have no reference .* first are \[2\]"
    ):
        quantiles(rewards, groups, rewards, np.array([0, 1, 1]))
    with pytest.raises(TypeError, match="groups must be integers, got float32"):
        rpo_prompt_values(rewards, rewards, rewards, tau=TAU)
    with pytest.raises(ValueError, match="arrays must have one length N"):
        rpo_prompt_values(rewards, rewards, groups[:2], tau=TAU)
