"""What a run would do, in words, without doing it."""

from collections.abc import Iterator

import jax
import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.models.networks import VALUE, Params
from dro_jax.plurals import counted
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.metric_writers import finished_step
from dro_jax.training.online.fresh_samples import FreshSamples
from dro_jax.training.run_settings import RunSettings


def description(
    run: RunSettings, plan: RunPlan, steps: MeshSteps, batch: HostBatch
) -> str:
    """Parameters, devices, the batch, and what would come.

    Args:
      run, plan, steps: the run.
      batch: the first.
    """
    shapes = steps.layout.shapes
    policy = {name: tree for name, tree in shapes.items() if name != VALUE}
    is_reward = plan.model.reward_config is not None
    kind_of_model = "reward model" if is_reward else "policy"
    mesh = steps.partitioner.mesh
    kind = mesh.devices.flat[0].device_kind
    sizes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    lines = [
        f"{kind_of_model}: {_count(policy):,} parameters",
        f"value: {_count(shapes[VALUE]):,} parameters" if VALUE in shapes else None,
        f"mesh: {sizes} ({mesh.devices.size} × {kind})",
        "batch:",
        *(f"  {name} {_shape(array)}" for name, array in sorted(batch.items())),
        *_coming(run, plan),
        "nothing was trained, and nothing written",
    ]
    return "\n".join(line for line in lines if line is not None)


def _coming(run: RunSettings, plan: RunPlan) -> Iterator[str]:
    """Where a run starts and what it does."""
    before = finished_step(run.model_dir)
    if before is None:
        yield f"starts from: {run.reference.path or 'random parameters'}"
    else:
        yield f"goes on from: step {before:,} of the run in {run.model_dir}"
    objective = type(plan.model.objective).__name__
    yield f"trains: to step {run.total_steps:,} with {objective}"
    if plan.mode is not None:
        yield f"reference: {plan.mode}"
    for split, count in plan.num_samples().items():
        yield f"samples of the reference: {counted(count, 'response')} ({split})"
    held_out = plan.data.held_out
    if held_out is None:
        yield "evaluates: never"
    else:
        every = counted(run.periods.evaluate, "step")
        yield f"evaluates: every {every} on '{held_out.split}'"
    if run.sampled is not None:
        prompts = run.sampled.num_prompts
        which = "all prompts" if prompts is None else f"{counted(prompts, 'prompt')}"
        samples = counted(run.sampled.decoding.num_samples, "response")
        yield f"samples: {samples} each to {which} of it at every evaluation"
    if (fresh := plan.data.fresh) is not None:
        yield from _rounds(fresh, plan.data.train.batch_size)


def _rounds(fresh: FreshSamples, batch_size: int) -> Iterator[str]:
    """What is sampled to be trained on."""
    count = fresh.num_prompts * fresh.decoding.num_samples
    logged = fresh.log_rows(batch_size)
    rows = f"{batch_size - logged} of {counted(batch_size, 'row')} of a batch"
    passes = f", {fresh.epochs} times over" if fresh.epochs > 1 else ""
    yield (
        f"rounds: {counted(count, 'response')} to {counted(fresh.num_prompts, 'prompt')} "
        f"each, trained on in {rows}{passes}"
    )
    if fresh.lag:
        yield f"lag: samples are of the policy {counted(fresh.lag, 'round')} ago"
    if (every := fresh.move_reference_every) is not None:
        yield f"reference: moves to the policy every {counted(every, 'step')}"


def _count(tree: Params) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _shape(array: np.ndarray) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"
