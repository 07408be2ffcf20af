"""A policy as a table of logits, one for each next token after each prefix."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.inputs import Expectation, Inputs
from dro_jax.certificate.problem import FiniteProblem
from dro_jax.certificate.training import Training, minimise
from dro_jax.models.networks import VALUE
from dro_jax.models.value import logits_value
from dro_jax.objectives.interface import Needs, Trajectories

TABLE_TRAINING = Training(steps=2000, learning_rate=0.1)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What training left, run by run.

    Attributes:
      policies: ``[runs, records, P, Y]`` π(y|x) along the way, normalised over the space.
      values: ``[runs, P]`` V(x) at the end, or None.
      leaked: ``[runs]`` the policy's mass outside the space at the end, at the prompt
        where it is largest.
    """

    policies: np.ndarray
    values: np.ndarray | None
    leaked: np.ndarray

    @classmethod
    def of(cls, logprobs: jax.Array, values: jax.Array | None) -> "Outcome":
        """From log π ``[runs, records, P, Y]`` and V ``[runs, records, P]``."""
        # Distances below 1e-6 nats are reported: in float32 sums would round as much.
        policies = np.exp(np.asarray(logprobs, np.float64))
        masses = policies.sum(axis=-1, keepdims=True)
        last = None if values is None else np.asarray(values, np.float64)[:, -1]
        leaked = np.max(1 - masses[:, -1, :, 0], axis=-1)
        return cls(policies / masses, last, leaked)


class TablePolicy:
    """Logits of every next token after every prefix, and a table of V.

    Training starts at the reference, with V = 0. A value at each token is one at each
    prefix; without a table of its own V is the normaliser of the logits, less the number
    of choices' log, as a T5's is.

    Args:
      problem: gives the space and the reference.
      value: one V a prompt, or one for all prompts.
    """

    def __init__(
        self, problem: FiniteProblem, value: Literal["prompt", "batch"] = "prompt"
    ):
        self._space = problem.space
        logits = problem.space.node_logits(problem.reference)
        self.params = {
            "policy": jnp.asarray(logits, jnp.float32),
            VALUE: jnp.zeros(problem.space.num_prompts if value == "prompt" else 1),
        }
        self._reference = self._token_logprobs(self.params["policy"])

    def start(self, needs: Needs) -> dict[str, jax.Array]:
        """The parameters where training starts."""
        params = dict(self.params)
        if needs.logits_value:
            del params[VALUE]
        if needs.token_values:
            params[VALUE] = jnp.zeros(params["policy"].shape[:2])
        return params

    def trajectories(self, params) -> Trajectories:
        """Every response of every prompt, N = P·Y."""
        per_token = self._token_logprobs(params["policy"])
        size = per_token.shape[0]
        space = self._space
        values, token_values = self._values(params)
        return Trajectories(
            policy_logprobs=jnp.sum(per_token, axis=1),
            rewards=jnp.zeros(size),
            weights=jnp.ones(size),
            reference_logprobs=self.reference_logprobs,
            values=jnp.repeat(values, space.num_responses),
            token_logprobs=per_token,
            token_weights=jnp.asarray(
                np.tile(space.present, (space.num_prompts, 1)), jnp.float32
            ),
            reference_token_logprobs=self._reference,
            token_values=token_values,
        )

    def _values(self, params):
        """V of each prompt, and of each token where there is a table of prefixes."""
        space = self._space
        if VALUE not in params:
            first = params["policy"][:, 0]
            return logits_value(first), None
        if params[VALUE].ndim == 1:
            return jnp.broadcast_to(params[VALUE], (space.num_prompts,)), None
        by_prefix = params[VALUE]
        per_token = by_prefix[:, space.nodes].reshape(-1, space.max_length)
        return by_prefix[:, 0], per_token

    @property
    def shape(self) -> tuple[int, int]:
        """P, Y."""
        return self._space.num_prompts, self._space.num_responses

    @property
    def reference_logprobs(self) -> jax.Array:
        """``[N]`` log π_ref(y|x)."""
        return jnp.sum(self._reference, axis=1)

    def _token_logprobs(self, logits):
        """``[P, nodes, choices] -> [N, T]``, 0 at padding."""
        space = self._space
        per_token = jax.nn.log_softmax(logits)[:, space.nodes, space.choices]
        per_token = jnp.where(space.present[None], per_token, 0.0)
        return per_token.reshape(-1, space.max_length)

    def train(
        self,
        expectation: Callable[[Inputs, jax.Array], Expectation],
        runs: Sequence[tuple[Inputs, jax.Array]],
        training: Training,
    ) -> Outcome:
        """Train one run for each entry of `runs`, all from the same start.

        Args:
          expectation: what to minimise, given a run.
          runs: the inputs and the temperature of each.
          training: how long and how fast.
        """

        def loss(params, run):
            base = self.trajectories(params)
            return jnp.mean(expectation(*run)(base).total)

        def observe(params, run):
            base = self.trajectories(params)
            values = base.values.reshape(self.shape)[:, 0]
            return base.policy_logprobs.reshape(self.shape), values

        start = self.start(expectation(*runs[0]).needs)
        _, (logprobs, values) = minimise(loss, observe, start, runs, training)
        return Outcome.of(logprobs, values)
