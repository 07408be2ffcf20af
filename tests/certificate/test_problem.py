"""The finite space, the closed form on it, and what is logged of it."""

import numpy as np
import pytest

from dro_jax.certificate.problem import (
    CONDITIONS,
    ResponseSpace,
    conditions,
    make_problem,
    mean_kl,
)


@pytest.fixture(scope="module")
def problem():
    return make_problem(seed=3, tau=0.7)


def test_every_response_is_there_once():
    space = ResponseSpace(num_letters=2, max_length=3)
    written = {
        tuple(row[:length])
        for row, length in zip(space.choices.tolist(), space.lengths, strict=True)
    }
    # 0 is EOS; of three tokens, letters alone may end a response.
    two = {(0,), (1, 0), (2, 0), (1, 1, 0), (1, 2, 0), (2, 1, 0), (2, 2, 0)}
    three = {(a, b, c) for a in (1, 2) for b in (1, 2) for c in (1, 2)}
    assert written == two | three
    assert space.num_responses == len(two | three)
    assert space.num_nodes == 7
    assert space.present.sum() == space.lengths.sum()


def test_next_token_logits_and_probabilities_agree():
    space = ResponseSpace()
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, space.num_nodes, space.num_letters + 1))
    probabilities = space.probabilities(logits)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    again = space.probabilities(space.node_logits(probabilities))
    np.testing.assert_allclose(again, probabilities)


def test_the_optimum_leaves_no_residual(problem):
    policy, values = problem.optimal_policy, problem.optimal_values
    np.testing.assert_allclose(policy.sum(axis=1), 1)
    log_ratios = np.log(policy / problem.reference)
    residuals = problem.rewards - values[:, None] - problem.tau * log_ratios
    np.testing.assert_allclose(residuals, 0, atol=1e-12)


def test_the_optimum_leaves_no_residual_at_any_token(problem):
    """V*(s_t) − V*(s_{t+1}) = r_t − τ log π*/π_ref: the soft Bellman equation."""
    space, values = problem.space, problem.node_values
    np.testing.assert_allclose(values[:, 0], problem.optimal_values)
    ratios = space.node_logits(problem.optimal_policy) - space.node_logits(
        problem.reference
    )
    for response, length in enumerate(space.lengths):
        nodes, choices = space.nodes[response], space.choices[response]
        for t in range(length):
            paid = problem.tau * ratios[:, nodes[t], choices[t]]
            last = t == length - 1
            onward = problem.rewards[:, response] if last else values[:, nodes[t + 1]]
            np.testing.assert_allclose(values[:, nodes[t]], onward - paid, atol=1e-12)


def test_nothing_is_better_than_the_optimum(problem):
    def objective(policy):
        kl = mean_kl(policy, problem.reference)
        return problem.mean_reward(policy) - problem.tau * kl

    best = objective(problem.optimal_policy)
    assert best == pytest.approx(problem.optimal_values.mean())
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.1, 1.0):
        other = problem.optimal_policy * np.exp(
            scale * rng.normal(size=problem.reference.shape)
        )
        assert objective(other / other.sum(axis=1, keepdims=True)) < best


def test_rewards_are_normalised_and_values_differ_by_prompt(problem):
    weights = problem.reference / len(problem.reference)
    assert np.sum(weights * problem.rewards) == pytest.approx(0)
    assert np.sum(weights * problem.rewards**2) == pytest.approx(1)
    assert np.ptp(problem.optimal_values) > 0.5


def test_what_is_logged(problem):
    on, off, noisy = conditions(problem)
    assert (on.name, off.name, noisy.name) == CONDITIONS
    np.testing.assert_array_equal(on.logging, problem.reference)
    np.testing.assert_allclose(off.logging.sum(axis=1), 1)
    assert off.logging.min() > 0
    assert problem.mean_reward(off.logging) < problem.mean_reward(problem.reference)
    assert (on.noisy, off.noisy, noisy.noisy) == (False, False, True)
    for condition in (on, off, noisy):
        np.testing.assert_allclose(condition.rewards.mean(axis=-1), problem.rewards)


def test_quantiles_and_wins_by_slow_loops(problem):
    noisy = conditions(problem)[2]
    rewards, copies = noisy.rewards, noisy.rewards.shape[-1]
    for prompt, response, copy in ((0, 0, 0), (1, 17, 3), (2, 39, 1)):
        mine = rewards[prompt, response, copy]
        share = sum(
            problem.reference[prompt, other] * (rewards[prompt, other, c] <= mine)
            for other in range(40)
            for c in range(copies)
        )
        expected = share / copies
        assert noisy.quantiles[prompt, response, copy] == pytest.approx(expected)
    wins = np.mean(
        [[mine > yours for yours in rewards[1, 5]] for mine in rewards[1, 30]]
    )
    assert noisy.wins[1, 30, 5] == wins
    assert noisy.wins[1, 5, 30] == 1 - wins


def test_kl_of_policies_that_leave_responses_out():
    p, q = np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]])
    assert mean_kl(p, q) == pytest.approx(np.log(4))
    assert mean_kl(q, p) == np.inf
