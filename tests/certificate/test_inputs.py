"""A batch that stands for the whole logging distribution."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax import objectives
from dro_jax.certificate.inputs import Expectation, make_inputs
from dro_jax.certificate.problem import conditions, make_problem
from dro_jax.certificate.table_policy import TablePolicy
from dro_jax.objectives.interface import Needs

SINGLES, GROUPS = Needs(), Needs(groups=True)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["on", "off", "noisy"])
def condition(request, problem):
    return conditions(problem)[request.param]


@pytest.fixture(scope="module")
def base(problem):
    """Trajectories of a policy that is not the reference."""
    policy = TablePolicy(problem)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=policy.params["policy"].shape).astype(np.float32)
    values = jnp.asarray([0.3, -0.2, 0.5])
    params = {"policy": policy.params["policy"] + noise, "value": values}
    return policy.trajectories(params)


def test_an_expectation_is_the_weighted_sum_over_responses(condition, base):
    inputs = make_inputs(SINGLES, condition, ranked=False, seed=0)
    losses = Expectation(objectives.DROV(tau=0.5), inputs)(base)
    log_ratios = np.asarray(base.log_ratios, np.float64).reshape(3, 40)
    values = np.array([0.3, -0.2, 0.5])[:, None, None]
    squares = (condition.rewards - values - 0.5 * log_ratios[..., None]) ** 2
    expected = np.mean(np.sum(condition.logging * squares.mean(axis=-1), axis=1))
    np.testing.assert_allclose(jnp.mean(losses.policy), expected / (2 * 0.5), rtol=1e-5)
    np.testing.assert_allclose(jnp.mean(losses.value), expected / 2, rtol=1e-5)


def test_on_policy_weights_are_the_policys_own(condition, base):
    inputs = make_inputs(SINGLES, condition, ranked=False, seed=0)
    losses = Expectation(objectives.NLL(), inputs, 1.0)(base).policy
    logprobs = np.asarray(base.policy_logprobs, np.float64)
    entropy = -np.sum(np.exp(logprobs) * logprobs) / 3
    np.testing.assert_allclose(jnp.mean(losses), entropy, rtol=1e-5)


def test_groups_of_the_policys_own_come_as_often_as_all_their_responses(
    condition, base
):
    inputs = make_inputs(GROUPS, condition, ranked=True, seed=0)
    objective = objectives.DROGroup(0.5)
    found = jnp.mean(Expectation(objective, inputs, 1.0)(base).policy)
    trajectories = inputs.trajectories(base)
    losses = np.asarray(objective(trajectories).policy, np.float64).reshape(-1, 3)[:, 0]
    logprobs = np.asarray(trajectories.policy_logprobs, np.float64).reshape(-1, 3)
    chances = np.exp(logprobs.sum(axis=1))
    np.testing.assert_allclose(found, losses @ chances / chances.sum(), rtol=1e-4)


def test_mismatched_pairs_by_a_slow_loop(condition, base):
    inputs = make_inputs(SINGLES, condition, ranked=False, seed=0)
    trajectories = inputs.trajectories(base)
    kl = objectives.mismatched_kl(
        -trajectories.mismatched_log_ratios, trajectories.mismatched_weights
    )
    log_ratios = np.asarray(base.log_ratios, np.float64).reshape(3, 40)
    expected = np.mean(
        [
            np.sum(condition.logging[answered] * log_ratios[asked])
            for asked in range(3)
            for answered in range(3)
            if asked != answered
        ]
    )
    # Turned round, since kl counts as 0 below 0.
    assert float(kl) == pytest.approx(max(-expected, 0.0), rel=1e-4)


def test_pairs_are_weighted_by_logging_and_by_who_wins(condition, base):
    inputs = make_inputs(GROUPS, condition, ranked=False, seed=0)
    losses = Expectation(objectives.IPO(tau=0.4), inputs)(base)
    log_ratios = np.asarray(base.log_ratios, np.float64).reshape(3, 40)
    total = weight = 0.0
    for prompt in range(3):
        for winner in range(40):
            for loser in set(range(40)) - {winner}:
                logged = np.prod(condition.logging[prompt, [winner, loser]])
                share = logged * condition.wins[prompt, winner, loser]
                margin = log_ratios[prompt, winner] - log_ratios[prompt, loser]
                total += share * (margin - 1 / 0.8) ** 2
                weight += share
    np.testing.assert_allclose(jnp.mean(losses.policy), total / weight, rtol=1e-4)


def test_lists_fall_in_reward_and_hold_three_responses_of_one_prompt(condition):
    inputs = make_inputs(GROUPS, condition, ranked=True, seed=0)
    assert inputs.group_size == 3
    rewards = np.asarray(inputs.rewards).reshape(-1, 3)
    responses = np.asarray(inputs.responses).reshape(-1, 3)
    assert np.all(np.diff(rewards, axis=1) <= 0)
    assert np.all(np.ptp(responses // 40, axis=1) == 0)
    assert all(len(set(row)) == 3 for row in responses.tolist())
    assert float(jnp.sum(inputs.weights)) == pytest.approx(1)


def test_values_of_prompts_are_optimal_without_noise_and_too_high_with_it(problem):
    reference = TablePolicy(problem).reference_logprobs
    errors = []
    for condition in conditions(problem):
        inputs = make_inputs(SINGLES, condition, ranked=False, seed=0)
        values = inputs.with_prompt_values(
            objectives.RPO(problem.tau), reference
        ).prompt_values
        values = np.asarray(values).reshape(3, -1)[:, 0]
        errors.append(values - problem.optimal_values)
    np.testing.assert_allclose(errors[:2], 0, atol=1e-5)
    assert np.all(errors[2] > 0.1)


def test_values_of_what_is_logged_are_optimal_where_the_reference_logged(problem):
    found = {}
    for condition in conditions(problem):
        inputs = make_inputs(SINGLES, condition, ranked=False, seed=0)
        values = inputs.with_prompt_values(
            objectives.AStarPO(problem.tau), jnp.zeros(120)
        ).prompt_values
        masses = condition.logging * np.mean(np.exp(condition.rewards), axis=-1)
        found[condition.name] = np.asarray(values).reshape(3, -1)[:, 0]
        np.testing.assert_allclose(
            found[condition.name], np.log(masses.sum(axis=1)), rtol=1e-4, atol=1e-5
        )
    errors = {name: x - problem.optimal_values for name, x in found.items()}
    np.testing.assert_allclose(errors["on-reference"], 0, atol=1e-5)
    assert np.all(errors["off-reference"] < -0.1)


def test_values_can_be_fixed(problem, base):
    inputs = make_inputs(SINGLES, conditions(problem)[0], ranked=False, seed=0)
    fixed = dataclasses.replace(
        inputs, fixed_values=jnp.full(inputs.rewards.shape, 2.0)
    )
    assert float(jnp.max(fixed.trajectories(base).values)) == 2.0
    assert float(jnp.max(inputs.trajectories(base).values)) == 0.5
