"""Where the objectives end on the finite space, as tables of logits and as a T5."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax import objectives
from dro_jax.certificate import certify as certify_module
from dro_jax.certificate.inputs import Expectation, make_inputs
from dro_jax.certificate.methods import METHODS
from dro_jax.certificate.problem import conditions, make_problem, mean_kl
from dro_jax.certificate.t5_policy import T5_TRAINING, T5Policy
from dro_jax.certificate.table_policy import TABLE_TRAINING, TablePolicy
from dro_jax.certificate.training import Training

BRIEF = dataclasses.replace(TABLE_TRAINING, steps=800)
NAMES = ("on-reference", "off-reference", "noisy rewards")


def trained(policy, method, logged, training):
    """π(y|x), KL(π‖π*) and max |V − V*| of each condition."""
    needs = method.objective().needs
    runs = []
    for condition in logged:
        inputs = make_inputs(needs, method.reads(condition), ranked=False, seed=0)
        if needs.prompt_values:
            inputs = inputs.with_prompt_values(
                method.objective(), policy.reference_logprobs
            )
        runs.append((inputs, jnp.float32(method.at)))
    outcome = policy.train(
        lambda inputs, t: Expectation(method.objective(t), inputs), runs, training
    )
    problem = logged[0].problem
    last = outcome.policies[:, -1]
    kls = [mean_kl(p, problem.optimal_policy) for p in last]
    errors = [
        np.max(np.abs(values - problem.optimal_values)) for values in outcome.values
    ]
    return last, kls, errors


@pytest.mark.parametrize("name", ["DRO", "DROV"])
@pytest.mark.parametrize("seed", [0, 1])
def test_policy_and_value_reach_the_optimum(name, seed):
    problem = make_problem(seed)
    logged = conditions(problem, seed)
    _, kls, errors = trained(TablePolicy(problem), METHODS[name], logged, BRIEF)
    assert max(kls) < 1e-3
    assert max(errors) < 1e-2


def test_rpo_reaches_the_optimum_where_rewards_are_exact():
    problem = make_problem()
    logged = conditions(problem)
    _, kls, _ = trained(TablePolicy(problem), METHODS["RPO"], logged, BRIEF)
    assert max(kls[:2]) < 1e-3
    assert kls[2] > 0.1


def test_nll_reaches_the_logging_policy():
    problem = make_problem()
    logged = conditions(problem)
    policies, kls, _ = trained(TablePolicy(problem), METHODS["NLL"], logged, BRIEF)
    for condition, policy in zip(logged, policies, strict=True):
        assert mean_kl(condition.logging, policy) < 1e-5
    assert kls[1] > kls[0] > 0.1


@pytest.mark.slow
def test_the_whole_table(monkeypatch):
    """The two sides of a value, and figures that belong together."""
    methods = [METHODS[name] for name in ("DROV", "AWR", "KTO")]
    # These two have tests of their own, of the same steps.
    for study in ("study_sources", "study_iterations"):
        given = lambda problem, training, seed, study=study: [study, training.steps]
        monkeypatch.setattr(certify_module, study, given)
    report = certify_module.certify("table", methods, steps=BRIEF.steps)
    assert report.sources == ["study_sources", BRIEF.steps]
    assert report.rounds == ["study_iterations", BRIEF.steps]
    values = {row.name: row.kl_to_optimum for row in report.values}
    for name, kls in values.items():
        assert kls["on-policy"] < 1e-3, name
    for exact in ("V(x) learned", "V = V*(x)"):
        assert max(values[f"DRO-V, {exact}"].values()) < 1e-3
    for wrong in ("V = 0", "V = V*(x) + 1", "V = mean of V*"):
        kls = values[f"DRO-V, {wrong}"]
        assert min(kls["off-reference"], kls["on-reference"]) > 0.05
    assert max(values["DRO-P, rewards less V*(x)"].values()) < 1e-3
    one_value = values["DRO-P, which is one V for all prompts"]
    assert one_value["on-reference"] > 0.05
    same = values["DRO-V, one V for all prompts, learned"]
    assert one_value["on-reference"] == pytest.approx(same["on-reference"], rel=1e-3)
    dropped = values["UNA, which is V = 0"]
    assert dropped == pytest.approx(values["DRO-V, V = 0"], rel=1e-3, abs=1e-4)

    assert report.results["AWR"]["on-reference"].kl_to_optimum < 1e-3
    assert report.results["AWR"]["off-reference"].kl_to_optimum > 0.05
    assert report.results["KTO"]["off-reference"].kl_from_limit < 1e-2
    curve = report.curves["off-reference"]["DROV"]
    frontier_kls, frontier_rewards = map(np.array, zip(*report.frontier, strict=True))
    order = np.argsort(frontier_kls)
    for kl, reward in curve:
        best = np.interp(kl, frontier_kls[order], frontier_rewards[order])
        assert reward == pytest.approx(best, abs=0.02)


def test_runs_do_not_touch_each_other():
    """Two runs at once end where each does alone."""
    problem = make_problem()
    logged = conditions(problem)[:2]
    brief = Training(steps=20, learning_rate=0.1, records=3)
    both, _, _ = trained(TablePolicy(problem), METHODS["UNA"], logged, brief)
    for index, condition in enumerate(logged):
        alone, _, _ = trained(TablePolicy(problem), METHODS["UNA"], [condition], brief)
        np.testing.assert_allclose(both[index], alone[0], rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_a_t5_comes_near_the_optimum():
    policy = T5Policy(make_problem(), T5_TRAINING)
    known = make_problem().reference
    assert mean_kl(known, policy.problem.reference) < 1e-2
    assert 0 <= policy.leaked < 0.01
    off = conditions(policy.problem)[1:2]
    _, kls, errors = trained(policy, METHODS["DROV"], off, T5_TRAINING)
    assert kls[0] < 0.05
    assert errors[0] < 0.1


@pytest.mark.slow
def test_a_t5s_loss_is_the_objectives_expectation():
    policy = T5Policy(make_problem(), Training(steps=2, learning_rate=1e-3))
    condition = conditions(policy.problem)[2]
    inputs = make_inputs(objectives.DROV.needs, condition, ranked=False, seed=0)
    expectation = Expectation(objectives.DROV(tau=0.5), inputs)
    params = policy.start(expectation)
    base = policy.trajectories(params, expectation)
    # The policy is the reference yet, so V alone leaves a residual.
    values = np.asarray(base.values, np.float64).reshape(3, 40)
    squares = np.mean((condition.rewards - values[..., None]) ** 2, axis=-1)
    square = np.mean(np.sum(condition.logging * squares, axis=1))
    expected = square / (2 * 0.5) + square / 2
    np.testing.assert_allclose(policy.loss(params, expectation), expected, rtol=1e-4)
