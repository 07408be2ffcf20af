"""Trains every objective and measures how far each ends from the closed form."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.inputs import Expectation, Inputs, make_inputs
from dro_jax.certificate.iteration_study import RoundRow, study_iterations
from dro_jax.certificate.methods import Method
from dro_jax.certificate.problem import (
    Condition,
    FiniteProblem,
    conditions,
    make_problem,
    mean_kl,
)
from dro_jax.certificate.source_study import SourceRow, study_sources
from dro_jax.certificate.t5_policy import T5_TRAINING, T5Policy
from dro_jax.certificate.table_policy import TABLE_TRAINING, Outcome, TablePolicy
from dro_jax.certificate.training import Training
from dro_jax.certificate.value_study import ValueRow, study_values

FORMS = ("table", "t5")
SWEEP = (
    0.25,
    0.4,
    0.65,
    1.6,
    2.5,
    5.0,
)  # temperatures beside a method's own, which is 1
_FRONTIER = np.geomspace(0.1, 30, 60)

Curve = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Figures:
    """How a policy compares, a mean over prompts.

    Attributes:
      kl_to_optimum: KL(π‖π*), nats.
      reward: the expected reward.
      kl_to_reference: KL(π‖π_ref), nats.
      value_error: the largest |V − V*|, or None without a value.
      kl_from_limit: KL(limit‖π), nats, of the policy that theory predicts; None where it
        predicts none, or gives mass to a response that π leaves out.
      leaked: mass outside the space before π was renormalised, at its worst prompt.
    """

    kl_to_optimum: float
    reward: float
    kl_to_reference: float
    value_error: float | None = None
    kl_from_limit: float | None = None
    leaked: float = 0.0

    @property
    def is_optimum(self) -> bool:
        """Within 0.001 nats of π*, and with hardly any mass outside the space."""
        return self.kl_to_optimum < 1e-3 and self.leaked < 0.01

    @classmethod
    def of(cls, problem: FiniteProblem, policy: np.ndarray, **further) -> "Figures":
        """Of a policy ``[P, Y]``."""
        return cls(
            kl_to_optimum=mean_kl(policy, problem.optimal_policy),
            reward=problem.mean_reward(policy),
            kl_to_reference=mean_kl(policy, problem.reference),
            **further,
        )


@dataclasses.dataclass(frozen=True)
class FormReport:
    """The certificate of one form of policy.

    Attributes:
      form: one of `FORMS`.
      training: of each objective.
      seconds: all of it took.
      optimal_values: V* of each prompt.
      known: figures of the reference and of the optimum, by name.
      logged: figures of the logging policy, by condition.
      results: figures by method and condition.
      curves: (KL to reference, reward) by condition and method: over temperatures where
        a method has one and they were swept, else over training.
      frontier: the best reward at each KL.
      reference_leaked: the reference's mass outside the space.
      values: the study of DRO-V's value; empty where it was not made.
      sources: that of where V comes from; likewise.
      rounds: that of a reference that moves; likewise.
    """

    form: str
    training: Training
    seconds: float
    optimal_values: list[float]
    known: dict[str, Figures]
    logged: dict[str, Figures]
    results: dict[str, dict[str, Figures]]
    curves: dict[str, dict[str, Curve]]
    frontier: Curve
    reference_leaked: float = 0.0
    values: list[ValueRow] = dataclasses.field(default_factory=list)
    sources: list[SourceRow] = dataclasses.field(default_factory=list)
    rounds: list[RoundRow] = dataclasses.field(default_factory=list)


def certify(
    form: str,
    methods: Sequence[Method],
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> FormReport:
    """Train each method as a table or as a T5 and measure it.

    Args:
      form: one of `FORMS`.
      methods: what is trained.
      seed: of the problem, the noise and the network.
      steps: of each training; default the form's own.
      progress: is told what has been done.
    """
    began = time.monotonic()
    problem = make_problem(seed)
    training = TABLE_TRAINING if form == "table" else T5_TRAINING
    if steps is not None:
        training = dataclasses.replace(training, steps=steps)
    further = {}
    if form == "table":
        policy, sweep = TablePolicy(problem), SWEEP
        further["values"] = study_values(problem, training, seed)
        progress("table: the value")
        further["sources"] = study_sources(problem, training, seed)
        progress("table: where the value comes from")
        further["rounds"] = study_iterations(problem, training, seed)
        progress("table: a reference that moves")
    else:
        policy, sweep = T5Policy(problem, training, seed), ()
        problem = policy.problem
        further["reference_leaked"] = policy.leaked
        progress("t5: the reference")
    logged = conditions(problem, seed)
    results, curves = {}, {condition.name: {} for condition in logged}
    for method in methods:
        results[method.name], of_method = _train(
            policy, method, logged, sweep, training, seed
        )
        for name, curve in of_method.items():
            curves[name][method.name] = curve
        progress(f"{form}: {method.name}")
    return FormReport(
        form=form,
        training=training,
        seconds=time.monotonic() - began,
        optimal_values=problem.optimal_values.tolist(),
        known={
            "π_ref": Figures.of(problem, problem.reference),
            "π*": Figures.of(problem, problem.optimal_policy),
        },
        logged={c.name: Figures.of(problem, c.logging) for c in logged},
        results=results,
        curves=curves,
        frontier=[_place(problem, problem.optimal_policy_at(tau)) for tau in _FRONTIER],
        **further,
    )


def _train(policy, method: Method, logged, sweep, training, seed):
    """A method under all conditions, and at other temperatures where there is no noise."""
    sweep = sweep if method.temperature else ()
    plan = [(condition, 1.0) for condition in logged]
    plan += [(c, factor) for c in logged if not c.noisy for factor in sweep]
    runs = [
        (
            _inputs(policy, method, condition, factor * method.at, seed),
            jnp.float32(factor * method.at),
        )
        for condition, factor in plan
    ]
    outcome = policy.train(
        lambda inputs, temperature: Expectation(method.objective(temperature), inputs),
        runs,
        training,
    )
    results = {
        condition.name: _figures(method, condition, outcome, index, runs[index][0])
        for index, condition in enumerate(logged)
    }
    curves = {}
    for index, condition in enumerate(logged):
        policies = outcome.policies[index]
        if sweep:
            if condition.noisy:
                continue
            at = sorted((f, i) for i, (c, f) in enumerate(plan) if c is condition)
            policies = [outcome.policies[i, -1] for _, i in at]
        else:
            policies = [condition.problem.reference, *policies]
        curves[condition.name] = [_place(condition.problem, p) for p in policies]
    return results, curves


def _inputs(policy, method: Method, condition: Condition, temperature, seed) -> Inputs:
    objective, read = method.objective(temperature), method.reads(condition)
    needs = objective.needs
    inputs = make_inputs(needs, read, ranked=method.ranked, seed=seed)
    if needs.prompt_values:
        inputs = inputs.with_prompt_values(objective, policy.reference_logprobs)
    return inputs


def _figures(
    method: Method, condition: Condition, outcome: Outcome, run: int, inputs: Inputs
) -> Figures:
    problem, policy = condition.problem, outcome.policies[run, -1]
    needs = method.objective().needs
    values = None
    if needs.value:
        values = outcome.values[run]
    elif needs.prompt_values and method.family == "optimum":  # others' are not of V*
        values = np.asarray(inputs.prompt_values).reshape(len(policy), -1)[:, 0]
    error = None
    if values is not None:
        error = float(np.max(np.abs(values - problem.optimal_values)))
    distance = None
    if method.limit is not None:
        limit = method.limit(method.reads(condition), method.objective())
        # KL(limit‖π), not the other way: a limit may leave responses out, and π has a
        # little of each.
        distance = None if limit is None else mean_kl(limit, policy)
    return Figures.of(
        problem,
        policy,
        value_error=error,
        kl_from_limit=distance if distance is None or math.isfinite(distance) else None,
        leaked=max(float(outcome.leaked[run]), 0.0),
    )


def _place(problem: FiniteProblem, policy: np.ndarray) -> tuple[float, float]:
    return mean_kl(policy, problem.reference), problem.mean_reward(policy)
