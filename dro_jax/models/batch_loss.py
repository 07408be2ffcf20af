"""The loss of a batch and its way back into the networks."""

import jax
import jax.numpy as jnp

from dro_jax import batch_fields
from dro_jax import metrics as metrics_lib
from dro_jax.batch_fields import RUNNING
from dro_jax.models.assembly import assemble
from dro_jax.models.networks import Batch, Networks, Params, RowOutputs
from dro_jax.models.training_metrics import training_metrics
from dro_jax.models.value_estimate import PolicyStates
from dro_jax.objectives.interface import Objective

_LOSS_FIELDS = batch_fields.names(reader="loss")


def of_outputs(
    networks: Networks,
    objective: Objective,
    outputs: RowOutputs,
    batch: Batch,
    normalizer: jax.Array,
) -> tuple[jax.Array, metrics_lib.Metrics]:
    """``Σ(loss · weight) / normalizer`` of a whole batch's outputs, and metrics."""
    trajectories = assemble(outputs, batch, networks.value, objective)
    losses = objective(trajectories)
    # A batch of padding alone has the loss 0, not 0 / 0.
    loss = jnp.sum(losses.total * trajectories.weights) / jnp.maximum(normalizer, 1.0)
    metrics = training_metrics(trajectories, losses, batch)
    # What the run carries leaves beside the metrics; the step takes it out again.
    for name, value in losses.running.items():
        metrics[f"{RUNNING}{name}"] = metrics_lib.Mean(value, jnp.float32(1.0))
    return loss, metrics


def row_by_row(
    networks: Networks,
    objective: Objective,
    states: PolicyStates,
    outputs_but_tokens: dict[str, jax.Array | None],
    batch: Batch,
    normalizer: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Token log-probabilities, and a 0 that carries the loss's gradient to them.

    For objectives whose trajectories do not depend on one another: a chunk of rows then
    has all that its loss needs, so the loss's gradient for its logits is known while they
    are in memory. The backward pass need not make them anew.

    Args:
      networks: of the model.
      objective: gives the losses.
      states: the policy's, of the batch.
      outputs_but_tokens: the other fields of `RowOutputs`.
      batch: B rows.
      normalizer: Σ(weight) of the global batch.

    Returns:
      ``[B, T]`` without gradient, and the scalar.
    """

    def row_loss(per_token, rows):
        part, others, normalizers = rows
        losses = objective(
            assemble(RowOutputs(per_token, **others), part, networks.value, objective)
        )
        shares = part["trajectory_weights"] / normalizers
        return jnp.sum(losses.total * shares.reshape(-1))

    rows = (
        {name: x for name, x in batch.items() if name in _LOSS_FIELDS},
        # Values learn from the loss that is computed outside, of all rows at once; here
        # they are numbers, as the reference's are.
        jax.lax.stop_gradient(outputs_but_tokens),
        # One for each row, as chunks are cut along the rows of all that is passed.
        jnp.broadcast_to(jnp.maximum(normalizer, 1.0), batch["rewards"].shape),
    )
    return networks.token_logprobs_with_gradient(states, batch, row_loss, rows)


def pullback(
    networks: Networks,
    params: Params,
    batch: Batch,
    cotangents: RowOutputs,
    dropout_rng: jax.Array | None = None,
) -> jax.Array:
    """A scalar whose gradient for `params` is ``Σ cotangents · d row_outputs``."""
    states, values = networks.run(params, batch, dropout_rng)
    _, gradient = networks.token_logprobs_with_gradient(
        states, batch, lambda x, g: jnp.sum(x * g), cotangents.token_logprobs
    )
    if values is None:
        return gradient
    return gradient + jnp.sum(values * cotangents.values)
