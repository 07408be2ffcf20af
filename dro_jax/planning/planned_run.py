"""A run's train step compiled for devices that need not be there."""

import dataclasses
import time

import jax
import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.messages import note
from dro_jax.models.flops import train_step_flops
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives.interface import Objective
from dro_jax.planning import memory as memory_lib
from dro_jax.planning.example_batch import example_batch
from dro_jax.planning.memory import MemoryUse
from dro_jax.planning.topologies import Slice
from dro_jax.training.before.checks import check_groups
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.checks import check_fresh
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.run_steps import steps_of
from dro_jax.training.sharding import MeshConfig

# Rewards on both sides of whatever threshold: what an objective takes from those of a
# split changes numbers of a program, and nothing of its size.
_REWARDS = np.array([-1e30, -1.0, 0.0, 1.0, 1e30])


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run on devices to be, traced.

    Attributes:
      plan: of the run.
      steps: its steps there.
      batch: one like those to come.
      run: its settings.
    """

    plan: RunPlan
    steps: MeshSteps
    batch: HostBatch
    run: RunSettings

    @property
    def frozen_copy(self) -> bool:
        """Whether the reference's parameters are on the devices too."""
        return self.plan.mode == "frozen_copy"

    @property
    def model_flops(self) -> int:
        """Of a step, on all devices."""
        return train_step_flops(
            self.plan.model, self.batch, frozen_copy=self.frozen_copy
        )

    @property
    def reference_bytes(self) -> int:
        """Of a frozen copy of the reference, on each device."""
        if not self.frozen_copy:
            return 0
        return memory_lib.bytes_on_a_device(self.steps.reference_layout)

    @property
    def state_bytes(self) -> int:
        """Of parameters, optimiser state and frozen copy, on each device."""
        state = memory_lib.bytes_on_a_device(self.steps.state_layout)
        return state + self.reference_bytes

    def lower(self) -> jax.stages.Lowered:
        """The train step, for :func:`compiled`."""
        return self.steps.lower_train(frozen_copy=self.frozen_copy)


@dataclasses.dataclass(frozen=True)
class Compilation:
    """What the compiler made of a step.

    Attributes:
      memory: what it takes of each device.
      seconds: that compiling took.
      text: the program; None where it does not fit.
    """

    memory: MemoryUse
    seconds: float
    text: str | None


def planned(run: RunSettings, devices: Slice) -> PlannedRun:
    """A run as it would be on devices, without its data and checkpoints.

    Args:
      run: its settings; data sets are asked for their settings alone.
      devices: to run on.

    Raises:
      ConfigError: settings do not fit one another, or the devices.
    """
    dataset = run.data.train
    check_groups(run.model, dataset, run.data.sampling)
    reference = check_fresh(run.model, run.data, run.reference, note)
    partitioner = (run.updates.mesh or MeshConfig()).build(devices.devices)
    partitioner.check_batch_size(dataset.batch_size, run.updates.num_microbatches)
    plan = RunPlan(
        _with_rewards(run.model),
        run.data,
        dataclasses.replace(reference, path=None),  # no checkpoint is looked at
        partitioner,
        folders={},
        starts=True,
    )
    batch = plan.example(example_batch(dataset))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return PlannedRun(plan, steps_of(plan, run.updates, batch, key), batch, run)


def compiled(run: PlannedRun, devices: Slice) -> Compilation:
    """Compiles a run's step, which takes minutes for a large one.

    Raises:
      Exception: the compiler's, for other reasons than memory.
    """
    return compiled_for(run.lower(), devices, run.state_bytes)


def compiled_for(
    lowered: jax.stages.Lowered,
    devices: Slice,
    state_bytes: int,
    made: list[jax.stages.Compiled] | None = None,
) -> Compilation:
    """Compiles a program.

    Args:
      lowered: of the program.
      devices: that it is for.
      state_bytes: of what it is given, on each device.
      made: is given the program, where it fits.

    Raises:
      Exception: the compiler's, for other reasons than memory.
    """
    available = memory_lib.available_bytes(devices)
    start = time.monotonic()
    try:
        program = lowered.compile()
    except Exception as error:
        memory = memory_lib.exhausted(error, state_bytes, available)
        if memory is None:
            raise
        return Compilation(memory, time.monotonic() - start, None)
    seconds = time.monotonic() - start
    if made is not None:
        made.append(program)
    used = memory_lib.used(program, available, devices.devices[0].platform)
    return Compilation(used, seconds, program.as_text())


def _with_rewards(model: FeedbackModel) -> FeedbackModel:
    """The model with an objective that has seen rewards, as far as it asks for them."""
    objective: Objective = model.objective
    if not objective.needs.split_rewards:
        return model
    return model.with_objective(objective.fitted_to(_REWARDS))
