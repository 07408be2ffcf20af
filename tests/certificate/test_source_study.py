"""DRO's square with V given, from a log and from samples; and around a moved reference."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.certificate.inputs import Expectation, make_inputs
from dro_jax.certificate.iteration_study import moved_optimum, study_iterations
from dro_jax.certificate.problem import conditions, make_problem, mean_kl
from dro_jax.certificate.source_study import (
    DATA,
    expected_sampled_values,
    sampled_rewards,
    study_sources,
)
from dro_jax.certificate.table_policy import TABLE_TRAINING, TablePolicy
from dro_jax.objectives import AStarPO, limits, sampled_values

BRIEF = dataclasses.replace(TABLE_TRAINING, steps=800)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


def test_values_of_one_and_of_two_samples_by_enumeration(problem):
    tau, chances = problem.tau, problem.reference
    one = np.sum(chances * problem.rewards, axis=1)
    np.testing.assert_allclose(expected_sampled_values(problem, 1), one, atol=1e-7)
    for p, rewards in enumerate(problem.rewards):
        pairs = list(itertools.product(range(len(rewards)), repeat=2))
        drawn = jnp.asarray([rewards[[*pair]] for pair in pairs], jnp.float32)
        values = np.asarray(sampled_values(drawn, tau=tau), np.float64)
        weights = [chances[p, a] * chances[p, b] for a, b in pairs]
        found = expected_sampled_values(problem, 2)[p]
        np.testing.assert_allclose(found, values @ weights, atol=1e-6)


def test_values_of_many_samples_are_low_by_chi_squared_over_twice_their_number(problem):
    distance = np.sum(problem.optimal_policy**2 / problem.reference, axis=1) - 1
    for count in (1_000, 10_000):
        errors = expected_sampled_values(problem, count) - problem.optimal_values
        expected = -problem.tau * distance / (2 * count)
        np.testing.assert_allclose(errors, expected, rtol=20 / count)


def test_samples_come_as_the_reference_has_them(problem):
    drawn = sampled_rewards(problem, 4000, np.random.default_rng(0))
    assert drawn.shape == (3, 4000)
    np.testing.assert_allclose(jnp.mean(drawn, 1), problem.reference_values, atol=0.08)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("which", [0, 1], ids=["on", "off"])
def test_the_end_of_a_given_v_is_a_fixed_point(problem, which, share):
    """Trained nowhere: the gradient vanishes at the closed form, and not at π*."""
    condition, policy = conditions(problem)[which], TablePolicy(problem)
    errors = np.array([-0.3, -1.0, -0.05])
    limit = limits.optimum_of_low_values(
        problem.optimal_policy, condition.logging, errors, share
    )
    np.testing.assert_allclose(limit.sum(axis=1), 1)
    distance = mean_kl(limit, problem.optimal_policy)
    assert (distance < 1e-12) == (share == 1) and distance < 0.2
    objective = AStarPO(problem.tau)
    inputs = make_inputs(objective.needs, condition, ranked=False, seed=0)
    values = jnp.asarray(problem.optimal_values + errors, jnp.float32)
    inputs = dataclasses.replace(inputs, prompt_values=values[inputs.prompts])
    expectation = Expectation(objective, inputs, jnp.float32(share))

    @jax.jit
    @jax.grad
    def gradient(params):
        return jnp.mean(expectation(policy.trajectories(params)).total)

    def size(of_policy):
        logits = jnp.asarray(problem.space.node_logits(of_policy), jnp.float32)
        found = gradient(policy.params | {"policy": logits})["policy"]
        return float(jnp.linalg.norm(found))

    assert size(limit) < 1e-5
    assert size(problem.reference) > 0.05
    assert share == 1 or size(problem.optimal_policy) > 0.02


def test_a_lag_of_the_samples_changes_the_way_and_not_the_end(problem):
    """Rounds of samples of the last round's policy, each to its end, with V too low."""
    errors, policy, distances = np.array([-0.3, -1.0, -0.6]), problem.reference, []
    for _ in range(8):
        policy = limits.optimum_of_low_values(problem.optimal_policy, policy, errors)
        distances.append(mean_kl(policy, problem.optimal_policy))
    assert distances[0] > 0.05 and distances[-1] < 1e-5
    assert distances == sorted(distances, reverse=True)


def test_a_v_above_v_star_has_no_closed_form(problem):
    with pytest.raises(ValueError, match="V must lie below"):
        limits.optimum_of_low_values(
            problem.optimal_policy, problem.reference, np.array([0.1, 0, 0])
        )


def test_moves_of_the_reference_add_up(problem):
    """π_k of one move after another is π_ref exp(k r/τ): V* of each round tells so."""
    policy, values = problem.reference, []
    for moves in (1, 2, 3):
        moved = dataclasses.replace(problem, reference=policy)
        policy = moved.optimal_policy
        values.append(moved.optimal_values)
        np.testing.assert_allclose(policy, moved_optimum(problem, moves))
    total = problem.values_at(problem.tau / 3) * 3
    np.testing.assert_allclose(sum(values), total)
    assert np.all(np.diff(values, axis=0) > 0)  # so V of the first is ever lower


def test_rounds_end_where_theory_has_them(problem):
    rows = {row.name: row for row in study_iterations(problem, BRIEF, rounds=2)}
    for data in ("log, off-reference", "half samples", "samples alone"):
        learnt = rows[f"V learnt; {data}"]
        assert max(learnt.kl_to_predicted) < 1e-3
        assert learnt.rewards[1] > learnt.rewards[0] + 0.5
        assert learnt.kl_to_reference[1] > 2 * learnt.kl_to_reference[0]
    stale = {
        data: rows[f"V* of the first reference; {data}"].kl_to_predicted[1]
        for data in ("log, off-reference", "half samples", "samples alone")
    }
    assert stale["log, off-reference"] > 0.2 > stale["half samples"] > 0.02
    assert stale["samples alone"] < 1e-3


@pytest.mark.slow
def test_sources_of_v(problem):
    rows = study_sources(problem, BRIEF)
    learnt, *sampled, logged, residuals, rewards = rows
    assert max(learnt.kl_to_optimum.values()) < 1e-3
    assert max(residuals.kl_to_optimum.values()) < 1e-2  # 800 steps; 1e-7 of 2,000
    # Each response's own reward is in its V̂: not even its own samples undo that.
    assert min(rewards.kl_to_optimum.values()) > 0.05
    errors = [row.value_error for row in sampled]
    assert errors == sorted(errors) and errors[0] < -0.5 and -0.01 < errors[-1] < 0
    first, last = sampled[0].kl_to_optimum, sampled[-1].kl_to_optimum
    for name, (_, share) in DATA.items():
        assert (first[name] > 0.05) == (share < 1)
        assert last[name] < max(0.1 * first[name], 1e-3)
    assert all(row.kl_to_optimum["samples alone"] < 1e-3 for row in rows[:-1])
    by_data = logged.kl_to_optimum
    assert by_data["log, on-reference"] < 1e-3 < by_data["half samples"]
    assert by_data["log, off-reference"] > 0.2
