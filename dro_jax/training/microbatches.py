"""Gradients of a whole batch from its parts, one part in memory at a time."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

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
    sum_dtype: DTypeLike = jnp.float32,
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
      sum_dtype: in which the microbatches' gradients are added up. With M of them a sum
        in bfloat16 is off by up to M · 2⁻⁹ of the sum of their sizes.
    """
    options = {"reference_params": reference_params}
    # One program for all that need no parts: what parts cost is not paid without them.
    if num_microbatches == 1:
        gradient = jax.value_and_grad(model.loss, has_aux=True)
        return gradient(params, batch, dropout_rng=dropout_rng, **options)
    parts = _split(batch, num_microbatches)
    rngs = None
    if dropout_rng is not None:
        rngs = jax.random.split(dropout_rng, num_microbatches)
    # Of the whole batch, so that the parts' losses add up whatever each of them holds:
    # packed, some have more trajectories than others.
    normalizer = jnp.sum(batch["trajectory_weights"])
    if model.couples_trajectories:
        return _coupled(
            model, params, batch, parts, rngs, normalizer, options, sum_dtype
        )

    def part_gradient(part, rng):
        result, gradient = jax.value_and_grad(model.loss, has_aux=True)(
            params, part, dropout_rng=rng, normalizer=normalizer, **options
        )
        return result, _cast(gradient, sum_dtype)

    result, gradient = _sum_over(part_gradient, (parts, rngs))
    return result, _cast(gradient, jnp.float32)


def _coupled(model, params, batch, parts, rngs, normalizer, options, sum_dtype):
    # By the chain rule d loss/d params = Σ (d loss/d outputs) · (d outputs/d params). The
    # outputs, a few numbers a token, fit in memory where the networks' activations do
    # not: so they are made twice, here without being kept and below to be differentiated.
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
    # The same dropout keys as above: the masks, and so the outputs, are the same.
    gradient = _sum_over(
        lambda part, rng, cotangent: _cast(
            jax.grad(model.pullback)(params, part, cotangent, dropout_rng=rng),
            sum_dtype,
        ),
        (parts, rngs, cotangents),
    )
    return result, _cast(gradient, jnp.float32)


def _cast(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def _sum_over(function, parts):
    """The sum of ``function(*part)`` over the leading axis of `parts`, metrics merged."""
    # A scan and not a Python loop: one part's program is compiled, and XLA cannot run
    # two parts at once, which would take the memory that the parts are to save.
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total, part):
        return metrics_lib.add(total, function(*part)), None

    return jax.lax.scan(add, zeros, parts)[0]


def _split(tree, count):
    # Microbatch i takes every M-th row: rows lie on devices in runs, and so each device
    # keeps its own rows in every microbatch and none are sent around.
    def split(x):
        parts = jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
        return constrain(parts, (None, "batch") + (None,) * (parts.ndim - 2))

    return jax.tree.map(split, tree)


def _join(x):
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])
