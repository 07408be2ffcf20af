"""The train state: everything that a resumed run needs, and nothing else."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dro_jax.models.model import Params


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


def create(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first update."""
    return TrainState(
        step=jnp.int32(0), params=params, opt_state=jax.jit(optimizer.init)(params)
    )
