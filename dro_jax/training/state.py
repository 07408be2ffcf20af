"""The train state: the arrays that a resumed run needs."""

import dataclasses
from collections.abc import Sequence
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

    Attributes:
      step: how many updates there were.
      params: policy and value.
      opt_state: the optimiser's.
      running: scalars that the objective carries from step to step, by name.
    """

    step: jax.Array
    params: Params
    opt_state: Any
    running: dict[str, jax.Array] = dataclasses.field(default_factory=dict)


def layout(
    params: ParamLayout,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    running: Sequence[str] = (),
) -> TrainState:
    """A state of `jax.ShapeDtypeStruct`s with shardings, to create or restore into."""
    # A restored state must be placed as a created one, or the step is compiled anew.
    shapes = jax.eval_shape(
        lambda params: _initial(params, optimizer, running), params.shapes
    )
    shardings = TrainState(
        step=partitioner.replicated,
        params=params.shardings,
        opt_state=partitioner.like_params(
            shapes.opt_state, params.shapes, params.shardings
        ),
        running=dict.fromkeys(running, partitioner.replicated),
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
        lambda params: _initial(params, optimizer, like.running),
        out_shardings=shardings,
    )
    return initialize(params)


def _initial(params, optimizer, running) -> TrainState:
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=optimizer.init(params),
        running={name: jnp.float32(0) for name in running},
    )
