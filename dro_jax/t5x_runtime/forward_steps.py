"""Our own steps beside T5X's: for a first checkpoint and a reference, without updates."""

import jax
import optax

from dro_jax.models.model import FeedbackModel
from dro_jax.training.initialization import smallest_batch
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
        smallest_batch(),
        key=jax.random.key(0),
    )
