"""Where DRO-V's value matters: V learned, known, dropped, wrong, or one for all."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.inputs import Expectation, make_inputs
from dro_jax.certificate.problem import FiniteProblem, conditions, mean_kl
from dro_jax.certificate.table_policy import TablePolicy
from dro_jax.certificate.training import Training
from dro_jax.objectives import DROP, DROV, UNA

LOGGING = ("on-policy", "on-reference", "off-reference")


@dataclasses.dataclass(frozen=True)
class ValueRow:
    """A choice of V.

    Attributes:
      name: of the choice.
      kl_to_optimum: KL(π‖π*), nats, by logging policy: one of `LOGGING`.
    """

    name: str
    kl_to_optimum: dict[str, float]


def study_values(
    problem: FiniteProblem, training: Training, seed: int = 0
) -> list[ValueRow]:
    """DRO-V as a table with other values than its own, and its kin without one.

    ``on-policy`` weighs responses by the policy as it stands, without gradient. There V
    is a baseline: ``E_π[V ∇log π] = 0`` whatever it is.

    Args:
      problem: with V* that differ from prompt to prompt.
      training: of each row.
      seed: as in `conditions`.
    """
    best = problem.optimal_values
    # Of r − V*(x) the optimal value is 0 at every prompt, and π* is the same.
    centred = dataclasses.replace(problem, rewards=problem.rewards - best[:, None])
    drov, drop, una = (kind(problem.tau) for kind in (DROV, DROP, UNA))
    rows = (
        ("DRO-V, V(x) learned", problem, drov, {}),
        ("DRO-V, V = V*(x)", problem, drov, {"fixed": best}),
        ("DRO-V, V = V*(x) + 1", problem, drov, {"fixed": best + 1}),
        ("DRO-V, V = mean of V*", problem, drov, {"fixed": best * 0 + best.mean()}),
        ("DRO-V, V = 0", problem, drov, {"fixed": best * 0}),
        ("UNA, which is V = 0", problem, una, {}),
        ("DRO-V, one V for all prompts, learned", problem, drov, {"value": "batch"}),
        ("DRO-P, which is one V for all prompts", problem, drop, {}),
        ("DRO-P, rewards less V*(x)", centred, drop, {}),
    )
    return [
        ValueRow(name, _kls(*settings, training, seed, **further))
        for name, *settings, further in rows
    ]


def _kls(problem, objective, training, seed, *, fixed=None, value="prompt"):
    on, off, _ = conditions(problem, seed)
    runs = []
    for condition, on_policy in ((on, True), (on, False), (off, False)):
        inputs = make_inputs(objective.needs, condition, ranked=False, seed=seed)
        if fixed is not None:
            per_prompt = jnp.asarray(fixed, jnp.float32)
            inputs = dataclasses.replace(
                inputs, fixed_values=per_prompt[inputs.prompts]
            )
        runs.append((inputs, jnp.float32(on_policy)))
    outcome = TablePolicy(problem, value).train(
        lambda inputs, on_policy: Expectation(objective, inputs, on_policy),
        runs,
        training,
    )
    last = outcome.policies[:, -1]
    return {
        name: mean_kl(np.asarray(policy), problem.optimal_policy)
        for name, policy in zip(LOGGING, last, strict=True)
    }
