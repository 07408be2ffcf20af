"""The train state: the arrays that a resumed run needs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dro_jax.models.networks import Params
from dro_jax.training.sharding import ParamLayout, Partitioner


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Parameters and optimiser state after `step` updates.

    There is no random key here: the key of step k is `fold_in(seed key, k)`, so it
    needs no saving.
    """

    step: jax.Array
    params: Params
    opt_state: Any


def layout(
    params: ParamLayout,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
) -> TrainState:
    """A state of `jax.ShapeDtypeStruct`s with shardings, to create or restore into."""
    shapes = jax.eval_shape(lambda params: _initial(params, optimizer), params.shapes)
    shardings = TrainState(
        step=partitioner.replicated,
        params=params.shardings,
        opt_state=partitioner.like_params(
            shapes.opt_state, params.shapes, params.shardings
        ),
    )
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding
        ),
        shapes,
        shardings,
    )


def create(
    params: Params, optimizer: optax.GradientTransformation, like: TrainState
) -> TrainState:
    """The state before the first update, placed as `like`."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
    initialize = jax.jit(
        lambda params: _initial(params, optimizer), out_shardings=shardings
    )
    return initialize(params)


def _initial(params, optimizer) -> TrainState:
    return TrainState(
        step=jnp.int32(0), params=params, opt_state=optimizer.init(params)
    )
