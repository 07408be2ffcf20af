"""DRO whose reference is moved to the policy again and again: where each round ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.inputs import Expectation, make_inputs
from dro_jax.certificate.problem import FiniteProblem, conditions, mean_kl
from dro_jax.certificate.source_study import DATA
from dro_jax.certificate.table_policy import Outcome, TablePolicy
from dro_jax.certificate.training import Training, minimise
from dro_jax.objectives import DROV

ROUNDS = 4
_DATA = ("log, off-reference", "half samples", "samples alone")


@dataclasses.dataclass(frozen=True)
class RoundRow:
    """A source of V and data, round by round.

    Attributes:
      name: of both.
      kl_to_predicted: KL(π_k‖π_ref exp(k r/τ)/Z) at the end of each round, nats.
      rewards: E[r] there.
      kl_to_reference: KL(π_k‖π_ref), of the first reference, nats.
    """

    name: str
    kl_to_predicted: list[float]
    rewards: list[float]
    kl_to_reference: list[float]


def moved_optimum(problem: FiniteProblem, moves: int) -> np.ndarray:
    """``[P, Y]`` π_k ∝ π_ref exp(k r/τ), the end of round k: the optimum of τ/k."""
    return problem.optimal_policy_at(problem.tau / moves)


def study_iterations(
    problem: FiniteProblem, training: Training, seed: int = 0, rounds: int = ROUNDS
) -> list[RoundRow]:
    """Rounds of DRO-V, each from and around the policy that the last one ended at.

    Args:
      problem: with V* that differ from prompt to prompt.
      training: of each round.
      seed: as in `conditions`.
      rounds: how many.
    """
    chains = [(given, data) for given in (False, True) for data in _DATA]
    ends = [[problem.reference] * len(chains)]
    for _ in range(rounds):
        ends.append(_one_round(problem, chains, ends[-1], training, seed))
    return [
        RoundRow(
            f"{'V* of the first reference' if given else 'V learnt'}; {data}",
            [
                mean_kl(end[index], moved_optimum(problem, moves))
                for moves, end in enumerate(ends[1:], start=1)
            ],
            [problem.mean_reward(end[index]) for end in ends[1:]],
            [mean_kl(end[index], problem.reference) for end in ends[1:]],
        )
        for index, (given, data) in enumerate(chains)
    ]


def _one_round(problem, chains, references, training, seed) -> list[np.ndarray]:
    """The policies ``[P, Y]`` that a round ends at, given those that it starts at.

    With the reference at π', DRO's residual is that of the first reference for rewards
    ``r + τ log(π'/π_ref)``: so all chains share one program.
    """
    policy, objective = TablePolicy(problem), DROV(problem.tau)
    logged = {c.name: c for c in conditions(problem, seed)}
    best = jnp.asarray(problem.optimal_values, jnp.float32)
    runs = []
    for (given, data), reference in zip(chains, references, strict=True):
        log, share = DATA[data]
        paid = problem.tau * np.log(reference / problem.reference)
        condition = dataclasses.replace(
            logged[log], rewards=logged[log].rewards + paid[..., None]
        )
        inputs = make_inputs(objective.needs, condition, ranked=False, seed=seed)
        start = jnp.asarray(problem.space.node_logits(reference), jnp.float32)
        # A value that is not trained is still in the program, at weight 0.
        runs.append((inputs, start, jnp.float32(share), jnp.float32(given)))

    def moved(params, run):
        inputs, start, _, given = run
        # What is trained is how far the policy has moved since the round began.
        params = params | {"policy": start + params["policy"]}
        base = policy.trajectories(params)
        fixed = best[inputs.prompts]
        values = given * fixed + (1 - given) * base.values[inputs.responses]
        return base, dataclasses.replace(inputs, fixed_values=values)

    def loss(params, run):
        base, inputs = moved(params, run)
        return jnp.mean(Expectation(objective, inputs, run[2])(base).total)

    def observe(params, run):
        return moved(params, run)[0].policy_logprobs.reshape(policy.shape), None

    still = jax.tree.map(jnp.zeros_like, policy.params)
    _, (logprobs, _) = minimise(loss, observe, still, runs, training)
    return list(Outcome.of(logprobs, None).policies[:, -1])
