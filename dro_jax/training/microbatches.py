"""Gradients of a whole batch from its parts, one part in memory at a time."""

import dataclasses

import jax
import jax.numpy as jnp

from dro_jax import metrics as metrics_lib
from dro_jax.models.layers import constrain
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Batch, Params, RowOutputs


def loss_and_gradient(
    model: FeedbackModel,
    params: Params,
    batch: Batch,
    *,
    num_microbatches: int = 1,
    reference_params: Params | None = None,
    dropout_rng: jax.Array | None = None,
) -> tuple[tuple[jax.Array, metrics_lib.Metrics], Params]:
    """``((loss, metrics), gradient)`` of a batch, whatever the number of microbatches.

    Where each trajectory has its own loss, the microbatches' gradients are summed. Where
    a batch statistic couples them (DRO-P's variance), a first pass collects what the
    networks say of each trajectory, the loss is differentiated for those numbers over
    the whole batch, and a second pass takes its derivatives back through the networks:
    a third more work, the same gradient.

    Args:
      model: gives the loss.
      params: the parameter tree.
      batch: B rows; the number of microbatches divides B.
      num_microbatches: M; microbatch i holds rows i, i + M, i + 2M, …, so that each
        has a share of every device's rows.
      reference_params: as in `FeedbackModel.loss`.
      dropout_rng: turns dropout on; each microbatch draws its own masks.
    """
    options = {"reference_params": reference_params}
    if num_microbatches == 1:
        gradient = jax.value_and_grad(model.loss, has_aux=True)
        return gradient(params, batch, dropout_rng=dropout_rng, **options)
    parts = _split(batch, num_microbatches)
    rngs = None
    if dropout_rng is not None:
        rngs = jax.random.split(dropout_rng, num_microbatches)
    normalizer = jnp.sum(batch["trajectory_weights"])
    if model.couples_trajectories:
        return _coupled(model, params, batch, parts, rngs, normalizer, options)

    def part_gradient(part, rng):
        return jax.value_and_grad(model.loss, has_aux=True)(
            params, part, dropout_rng=rng, normalizer=normalizer, **options
        )

    return _sum_over(part_gradient, (parts, rngs))


def _coupled(model, params, batch, parts, rngs, normalizer, options):
    outputs = jax.lax.map(
        lambda part: model.row_outputs(params, part[0], dropout_rng=part[1], **options),
        (parts, rngs),
    )
    whole = jax.tree.map(_join, outputs)

    def head(token_logprobs, values):
        seen = dataclasses.replace(whole, token_logprobs=token_logprobs, values=values)
        return model.loss_of_outputs(seen, batch, normalizer)

    result, cotangents = jax.value_and_grad(head, argnums=(0, 1), has_aux=True)(
        whole.token_logprobs, whole.values
    )
    cotangents = _split(RowOutputs(*cotangents), parts["rewards"].shape[0])
    gradient = _sum_over(
        lambda part, rng, cotangent: jax.grad(model.pullback)(
            params, part, cotangent, dropout_rng=rng
        ),
        (parts, rngs, cotangents),
    )
    return result, gradient


def _sum_over(function, parts):
    """The sum of ``function(*part)`` over the leading axis of `parts`, metrics merged."""
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total, part):
        return metrics_lib.add(total, function(*part)), None

    return jax.lax.scan(add, zeros, parts)[0]


def _split(tree, count):
    def split(x):
        parts = jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
        return constrain(parts, (None, "batch") + (None,) * (parts.ndim - 2))

    return jax.tree.map(split, tree)


def _join(x):
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])
