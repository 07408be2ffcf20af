"""Our own steps beside T5X's: for a first checkpoint and a reference, without updates."""

import jax
import numpy as np
import optax

from dro_jax.data.interface import HostBatch
from dro_jax.models.model import FeedbackModel
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.sharding import MeshConfig


def forward_steps(model: FeedbackModel, mesh: MeshConfig | None) -> MeshSteps:
    """A model's steps on a mesh; its optimiser changes nothing.

    Args:
      model: what T5X trains.
      mesh: the devices; default all, parameters replicated.
    """
    return MeshSteps(
        model,
        optax.identity(),
        (mesh or MeshConfig()).build(),
        _example(),
        key=jax.random.key(0),
    )


def _example() -> HostBatch:
    """The smallest batch that parameters can be made for: their shapes need no data."""
    rows = jax.device_count()
    tokens = np.ones((rows, 1), np.int32)
    return {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": tokens,
        "decoder_loss_weights": tokens,
        "rewards": np.zeros((rows, 1), np.float32),
        "trajectory_weights": np.ones((rows, 1), np.float32),
    }
