"""Which objectives are certified, and where theory says that they end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.certificate.inputs import Expectation, make_inputs
from dro_jax.certificate.methods import METHODS, choose
from dro_jax.certificate.problem import conditions, make_problem
from dro_jax.certificate.table_policy import TablePolicy
from dro_jax.errors import ConfigError
from dro_jax.objectives import registry

# QRPO's takes the rewards for continuous: it is close, no fixed point.
LIMITS = [name for name, m in METHODS.items() if m.limit and name != "QRPO"]


def test_no_objective_of_a_policy_is_left_out():
    kinds = {method.kind for method in METHODS.values()}
    assert kinds == set(registry.of_policies().values())
    assert {
        kind.__name__ for kind in registry.kinds().values() if kind not in kinds
    } == {"RewardRegression", "BradleyTerry"}


def test_names_are_read_leniently():
    assert [m.name for m in choose(["dro-v", "apo_zero", "KTO"])] == [
        "DROV",
        "APOZero",
        "KTO",
    ]
    assert [m.name for m in choose(None)] == list(METHODS)


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(ConfigError, match="'dro-w'.*near it: .*DROV"):
        choose(["DROV", "dro-w"])


@pytest.mark.parametrize("which", [0, 1, 2], ids=["on", "off", "noisy"])
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_a_fixed_point(name, which):
    """There the gradient vanishes beside that at the reference."""
    problem = make_problem()
    method, condition = METHODS[name], conditions(problem)[which]
    limit = method.limit(method.reads(condition), method.objective())
    if limit is None:
        assert condition.noisy, name
        return
    np.testing.assert_allclose(limit.sum(axis=1), 1)
    policy = TablePolicy(problem)
    needs = method.objective().needs
    read = method.reads(condition)
    inputs = make_inputs(needs, read, ranked=method.ranked, seed=0)
    if needs.prompt_values:
        inputs = inputs.with_prompt_values(
            method.objective(), policy.reference_logprobs
        )
    expectation = Expectation(method.objective(), inputs)

    @jax.jit
    @jax.grad
    def gradient(params):
        return jnp.mean(expectation(policy.trajectories(params)).total)

    # Where the limit leaves responses out, the gradient vanishes with their mass.
    near = (limit + 1e-7) / (limit + 1e-7).sum(axis=1, keepdims=True)
    logits = problem.space.node_logits(near)
    values = {"value": problem.optimal_values}
    if needs.token_values:
        values = {"value": problem.node_values}
    if needs.logits_value:  # the policy's first logits say it
        logits[:, 0] += problem.optimal_values[:, None] + np.log(logits.shape[-1])
        values = {}
    there = jax.tree.map(
        lambda x: jnp.asarray(x, "float32"), {"policy": logits} | values
    )
    there, start = gradient(there), gradient(policy.start(needs))
    if name == "NLL" and which != 1:
        start = {"policy": jnp.ones(1)}  # the reference is its limit
    assert _norm(there) < 1e-3 * _norm(start)


def _norm(gradient):
    return float(jnp.linalg.norm(gradient["policy"]))
