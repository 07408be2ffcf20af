"""Where V comes from and whose responses are read: what DRO's square then converges to."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.inputs import Expectation, Inputs, make_inputs
from dro_jax.certificate.problem import FiniteProblem, conditions, mean_kl
from dro_jax.certificate.table_policy import TablePolicy
from dro_jax.certificate.training import Training
from dro_jax.objectives import DROV, AStarPO, DROGroup
from dro_jax.objectives.interface import Objective

SAMPLES = (1, 4, 16, 64, 256)  # of the reference, to a prompt
DRAWS = 8  # of so many samples
# Whose responses: a log's, and what share of them is the policy's own as it stands.
DATA = {
    "log, on-reference": ("on-reference", 0.0),
    "log, off-reference": ("off-reference", 0.0),
    "half samples": ("off-reference", 0.5),
    "samples alone": ("off-reference", 1.0),
}


@dataclasses.dataclass(frozen=True)
class SourceRow:
    """A source of V.

    Attributes:
      name: of the source.
      value_error: E[V̂] − V*, a mean over prompts; None where V is learnt or differs from
        log to log.
      kl_to_optimum: KL(π‖π*), nats, by whose responses: one of `DATA`. A mean over draws.
    """

    name: str
    value_error: float | None
    kl_to_optimum: dict[str, float]


def study_sources(
    problem: FiniteProblem, training: Training, seed: int = 0
) -> list[SourceRow]:
    """V learnt, of n samples of the reference, of what is logged, of the group at hand.

    Args:
      problem: with V* that differ from prompt to prompt.
      training: of each row.
      seed: as in `conditions`, and of the samples.
    """
    policy, given = TablePolicy(problem), AStarPO(problem.tau)
    logged = {c.name: c for c in conditions(problem, seed)}

    def kls(objective: Objective, draws: list[dict[str, Inputs]]) -> dict[str, float]:
        runs = [
            (inputs[name], jnp.float32(share))
            for inputs in draws
            for name, (_, share) in DATA.items()
        ]
        outcome = policy.train(
            lambda inputs, share: Expectation(objective, inputs, share), runs, training
        )
        last = outcome.policies[:, -1].reshape(len(draws), len(DATA), *policy.shape)
        return {
            name: float(
                np.mean([mean_kl(p, problem.optimal_policy) for p in last[:, index]])
            )
            for index, name in enumerate(DATA)
        }

    def read(objective: Objective) -> dict[str, Inputs]:
        return {
            name: make_inputs(objective.needs, logged[log], ranked=True, seed=seed)
            for name, (log, _) in DATA.items()
        }

    plain = read(given)
    rows = [SourceRow("V learnt (DRO-V)", None, kls(DROV(problem.tau), [read(DROV())]))]
    rng = np.random.default_rng((seed, 3))
    # The first n of one sequence, so that what changes from row to row is n alone.
    drawn = [sampled_rewards(problem, max(SAMPLES), rng) for _ in range(DRAWS)]
    for count in SAMPLES:
        values = [given.values_of_samples(rewards[:, :count]) for rewards in drawn]
        draws = [
            {
                name: dataclasses.replace(inputs, prompt_values=v[inputs.prompts])
                for name, inputs in plain.items()
            }
            for v in values
        ]
        error = expected_sampled_values(problem, count) - problem.optimal_values
        name = f"V̂ of {count} sample{'s'[: count > 1]} of the reference (A*-PO)"
        rows.append(SourceRow(name, float(np.mean(error)), kls(given, draws)))
    of_log = {
        name: inputs.with_prompt_values(given, policy.reference_logprobs)
        for name, inputs in plain.items()
    }
    name = "V̂ of what is logged, as if the reference's (A*-PO)"
    rows.append(SourceRow(name, None, kls(given, [of_log])))
    for group_value in ("residuals", "rewards"):
        objective = DROGroup(problem.tau, group_value=group_value)
        name = f"V of the group of three at hand, of its {group_value} (DROGroup)"
        rows.append(SourceRow(name, None, kls(objective, [read(objective)])))
    return rows


def sampled_rewards(
    problem: FiniteProblem, count: int, rng: np.random.Generator
) -> jnp.ndarray:
    """``[P, n]`` rewards of `count` responses of the reference to each prompt."""
    rows = [
        rng.choice(rewards, size=count, p=chances)
        for rewards, chances in zip(problem.rewards, problem.reference, strict=True)
    ]
    return jnp.asarray(rows, jnp.float32)


def expected_sampled_values(problem: FiniteProblem, count: int) -> np.ndarray:
    """``[P]`` E[τ log mean_i exp(r_i/τ)] over n samples of the reference, exactly.

    With S the mean over its own expectation, ``E[log S] = ∫ (e^−t − E[e^−tS]) dt/t`` from
    0 to ∞ (Frullani's integral of log), and ``E[e^−tS]`` of a mean is a power. For large
    n it is ``V* − τ χ²(π*‖π_ref)/(2n)``.
    """
    best = problem.optimal_values
    tilts = np.exp((problem.rewards - best[:, None]) / problem.tau)
    # In u = log t both ends fall off so fast that a plain sum is exact to 8 digits.
    u = np.linspace(-30, 30, 6001)
    t = np.exp(u)
    decays = np.exp(-tilts[..., None] * t / count)
    means = np.einsum("py,pyt->pt", problem.reference, decays) ** count
    integral = np.sum(np.exp(-t) - means, axis=1) * (u[1] - u[0])
    return best + problem.tau * integral
