"""A run's plan from its settings, and its steps on its devices from its plan."""

import contextlib
from collections.abc import Callable

import jax

from dro_jax.data.interface import HostBatch
from dro_jax.models.flops import train_step_flops
from dro_jax.models.networks import Params
from dro_jax.training import hosts, initialization, run_files
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.before.run_plan import RunPlan, plan_run
from dro_jax.training.feed import Feed
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.run_settings import RunSettings, Updates
from dro_jax.training.step_zero import StepZeroCheck, checked
from dro_jax.training.throughput import Throughput, peak_flops
from dro_jax.training.watchdog import Watchdog


def plan_of(run: RunSettings) -> RunPlan:
    """The plan of a run, as `plan_run` makes it; what one process refuses, all do.

    When it is there, all processes are: reading and preparing splits may have taken one
    far longer than another, more than the first collective would wait.
    """
    # Those who wait for one that hangs must not do so for ever.
    seconds = run.process.watchdog_seconds if hosts.count() > 1 else None
    with Watchdog(seconds):
        starts = hosts.first_says(lambda: not run_files.has_checkpoint(run.model_dir))
        return hosts.agree(
            lambda: plan_run(
                run.model,
                run.data,
                run.reference,
                model_dir=run.model_dir,
                mesh=run.updates.mesh,
                num_microbatches=run.updates.num_microbatches,
                starts=starts,
            )
        )


def steps_of(
    plan: RunPlan, updates: Updates, first: HostBatch, key: jax.Array
) -> MeshSteps:
    """The steps of a run.

    Args:
      plan: the run.
      updates: how a batch becomes an update.
      first: a batch like those to come.
      key: seeds dropout.

    Raises:
      CheckpointError: the checkpoint to start from does not fit the model.
      ConfigError: the compiler refuses an option.
    """
    steps = MeshSteps(
        plan.model,
        updates.optimizer.build(),
        plan.partitioner,
        first,
        key=key,
        num_microbatches=updates.num_microbatches,
        gradient_sum_dtype=updates.gradient_sum_dtype,
        on_non_finite=updates.on_non_finite,
        compiler_options=updates.compiler_options,
    )
    if plan.starts and plan.reference.path is not None:
        initialization.check_fits(plan.model, plan.reference.path, steps.layout.shapes)
    return steps


def throughput_of(plan: RunPlan, first: HostBatch) -> Throughput:
    """What measures a run's rates.

    Args:
      plan: the run.
      first: a batch like those to come.
    """
    model, devices = plan.model, plan.partitioner.mesh.devices.flat
    return Throughput(
        train_step_flops(model, first, frozen_copy=plan.mode == "frozen_copy"),
        peak_flops(devices, model.network_config.dtype),
    )


def writer_of(
    run: RunSettings, step: int, progress: RunProgress
) -> contextlib.AbstractContextManager[MetricWriter]:
    """Where a run's metrics go, which is closed in the end.

    Args:
      run: its settings.
      step: from which it goes on.
      progress: what its checkpoint says.
    """
    # A line that is still due may be there: the run that wrote it was killed.
    start = step - progress.line_due
    writer = MetricWriter(
        run.model_dir, start_step=start, tensorboard=run.process.tensorboard
    )
    return contextlib.closing(writer)


def train_step_of(
    plan: RunPlan,
    prepared: PreparedRun,
    steps: MeshSteps,
    feed: Feed,
    start_params: Callable[[], Params] | None,
) -> Callable:
    """The loop's step; the first of a run that starts is looked at."""

    def train_step(state, batch):
        return steps.train(state, batch, feed.reference_params)

    if start_params is None or plan.mode is None:
        return train_step
    check = StepZeroCheck.of(plan, prepared, steps, start_params)
    return checked(train_step, check)
