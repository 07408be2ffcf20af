"""What is computed of a round's responses by networks and objective, before it is used."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.data.interface import WHOLE, HostBatch
from dro_jax.data.truncation import counting
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.objectives.interface import Rollouts
from dro_jax.training.before.reference_logprobs import token_mask
from dro_jax.training.compiled_together import CompiledTogether
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.online.sampled_records import SAMPLE


class RoundPass:
    """Runs the policy and its reference over a round's rows, each program compiled once.

    Args:
      model: whose networks run.
      steps: where parameters and batches live.
    """

    def __init__(self, model: FeedbackModel, steps: MeshSteps):
        self._steps = steps
        replicated = steps.partitioner.replicated
        self._reference = CompiledTogether(
            jax.jit(model.token_logprobs, out_shardings=replicated)
        )
        needs = model.objective.needs
        self._keeps_tokens = needs.token_logprobs

        def of_policy(params, batch):
            # Whatever stands there keeps the model from asking for a reference.
            per_token = jnp.zeros(batch["decoder_loss_weights"].shape, jnp.float32)
            none = {"reference_logprobs": batch["rewards"]}
            none |= {"reference_token_logprobs": per_token}
            outputs = model.row_outputs(params, batch | none)
            found = {"token_logprobs": outputs.token_logprobs}
            return found | ({"token_values": outputs.values} if has_values else {})

        has_values = needs.token_values
        self._policy = CompiledTogether(jax.jit(of_policy, out_shardings=replicated))
        # A bound method is made anew each time it is named: a program of each would be.
        self._of_rollouts = jax.jit(model.objective.of_rollouts)

    def of_policy(
        self,
        params: Params,
        rows: Iterable[HostBatch],
        samples: RoundSamples,
        tick: Callable[[], Any] = bool,
    ) -> dict[str, np.ndarray]:
        """`old_token_logprobs` and, where the objective has them, `old_token_values`.

        Args:
          params: of the policy that sampled, and its value.
          rows: whole batches that hold each sample once.
          samples: of the round.
          tick: called once a batch.

        Returns:
          ``[Σ lengths]`` float32 each.
        """
        found = self._over_rows(self._policy, params, rows, samples, tick)
        return {f"old_{name}": values for name, values in found.items()}

    def of_reference(
        self,
        params: Params,
        rows: Iterable[HostBatch],
        samples: RoundSamples,
        tick: Callable[[], Any] = bool,
    ) -> dict[str, np.ndarray]:
        """`reference_logprobs` ``[N]`` and, where tokens are read, those of tokens."""

        def outputs(params, batch):
            return {"tokens": self._reference(params, batch)}

        tokens = self._over_rows(outputs, params, rows, samples, tick)["tokens"]
        # In float64, as a cache of the reference sums them.
        sums = np.add.reduceat(tokens.astype(np.float64), samples.starts)
        found = {"reference_logprobs": sums.astype(np.float32)}
        if self._keeps_tokens:
            found["reference_token_logprobs"] = tokens
        return found

    def of_rollouts(
        self, samples: RoundSamples, running: Mapping[str, np.ndarray], width: int
    ) -> dict[str, np.ndarray]:
        """`token_advantages` and `token_returns` of a round: `Objective.of_rollouts`.

        Args:
          samples: with what :meth:`of_policy` and :meth:`of_reference` find, in their
            fields.
          running: the scalars that the run carries, by name.
          width: the most tokens of a response.

        Returns:
          ``[Σ lengths]`` float32 each.
        """
        weights, fields = samples.token_weights(width), samples.fields

        def dense(name: str) -> jax.Array:
            return jnp.asarray(samples.dense(fields[name], width))

        has_values = "old_token_values" in fields
        rollouts = Rollouts(
            rewards=jnp.asarray(samples.rewards),
            weights=jnp.ones(len(samples), jnp.float32),
            token_weights=jnp.asarray(weights, jnp.float32),
            token_logprobs=dense("old_token_logprobs"),
            reference_token_logprobs=dense("reference_token_logprobs"),
            token_values=dense("old_token_values") if has_values else None,
            running={name: jnp.float32(x) for name, x in running.items()},
        )
        advantages, returns = self._of_rollouts(rollouts)
        return {
            "token_advantages": np.asarray(advantages, np.float32)[weights],
            "token_returns": np.asarray(returns, np.float32)[weights],
        }

    def _over_rows(self, outputs, params, rows, samples, tick) -> dict[str, np.ndarray]:
        partitioner, found = self._steps.partitioner, {}
        for batch in rows:
            shard = partitioner.shard(len(batch["rewards"]))
            own = _part(batch, shard) if shard != WHOLE else batch
            with partitioner.context():
                made = outputs(params, self._steps.put(_for_networks(own), shard))
            for name, values in made.items():
                if name not in found:
                    found[name] = np.zeros(int(np.sum(samples.lengths)), np.float32)
                _keep(found[name], samples, batch, np.asarray(values))
            tick()
        return found


def _keep(
    flat: np.ndarray, samples: RoundSamples, batch: HostBatch, values: np.ndarray
) -> None:
    """Puts ``[B, T]`` numbers of a batch's rows where their samples' tokens lie."""
    numbers = batch[SAMPLE][batch["trajectory_weights"] > 0]
    lengths = samples.lengths[numbers]
    places = np.repeat(samples.starts[numbers], lengths) + counting(lengths)
    flat[places] = values[np.any(token_mask(batch), axis=-1)]


def _for_networks(batch: HostBatch) -> HostBatch:
    return {name: rows for name, rows in batch.items() if name != SAMPLE}


def _part(batch: HostBatch, shard) -> HostBatch:
    index, count = shard
    size = len(batch["rewards"]) // count
    rows = slice(index * size, (index + 1) * size)
    return {n: x if n == "next_position" else x[rows] for n, x in batch.items()}
