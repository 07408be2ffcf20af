"""What a run would do, in words, without doing it."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE, Params
from dro_jax.training.before.reference import Mode, mode_for
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.metric_writers import finished_step


def description(
    steps: MeshSteps, batch: dict[str, np.ndarray], plan: Iterable[str]
) -> str:
    """Parameters, devices, the batch, and what would come.

    Args:
      steps: of the run.
      batch: the first.
      plan: further lines.
    """
    shapes = steps.layout.shapes
    policy = {name: tree for name, tree in shapes.items() if name != VALUE}
    mesh = steps.partitioner.mesh
    kind = mesh.devices.flat[0].device_kind
    sizes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    lines = [
        f"policy: {_count(policy):,} parameters",
        f"value: {_count(shapes[VALUE]):,} parameters" if VALUE in shapes else None,
        f"mesh: {sizes} ({mesh.devices.size} × {kind})",
        "batch:",
        *(f"  {name} {_shape(array)}" for name, array in sorted(batch.items())),
        *plan,
        "nothing was trained, and nothing written",
    ]
    return "\n".join(line for line in lines if line is not None)


def coming(
    model: FeedbackModel,
    model_dir: str,
    total_steps: int,
    start: str | None,
    reference: Mode | None,
) -> Iterator[str]:
    """Where a run starts and what it does; arguments as of `train`."""
    before = finished_step(model_dir)
    if before is None:
        yield f"starts from: {start or 'random parameters'}"
    else:
        yield f"goes on from: step {before:,} of the run in {model_dir}"
    yield f"trains: to step {total_steps:,} with {type(model.objective).__name__}"
    if model.objective.needs.reference:
        yield f"reference: {mode_for(model, reference)}"


def evaluation(dataset: Any, period: int) -> str:
    """On what a run is evaluated and how often; None, on nothing."""
    if dataset is None:
        return "evaluates: never"
    return f"evaluates: every {period:,} steps on '{dataset.split}'"


def _count(tree: Params) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _shape(array: np.ndarray) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"
