"""What a plan says, as values that JSON holds and as a table for people."""

import dataclasses
from typing import Any

import jax
import numpy as np

from dro_jax.models.networks import VALUE, Params
from dro_jax.planning.movers import largest
from dro_jax.planning.planned_run import Compilation, PlannedRun, compiled, planned
from dro_jax.planning.program_costs import Costs, program_costs
from dro_jax.planning.roofline import Roofline, roofline
from dro_jax.planning.topologies import Slice
from dro_jax.training.run_settings import RunSettings

_MOVERS = 10


@dataclasses.dataclass(frozen=True)
class PlanReport:
    """A run compiled for devices, with what it costs there.

    Attributes:
      run: as it was traced.
      devices: that it was compiled for.
      compilation: memory, time, and the program.
      costs: of a step, of one device; None where it does not fit.
      roofline: the least time of a step; None where it does not fit, or where the chip
        is not known.
    """

    run: PlannedRun
    devices: Slice
    compilation: Compilation
    costs: Costs | None
    roofline: Roofline | None

    @property
    def fits(self) -> bool:
        """Whether a device's memory is enough."""
        return self.compilation.memory.fits

    @property
    def spare(self) -> float | None:
        """The share of a device's memory that is left; None where that is not known."""
        return self.compilation.memory.spare

    def movers(self, count: int = _MOVERS) -> list[dict[str, Any]]:
        """What moves the most bytes of a step to and from a device's memory, first.

        Args:
          count: the most that are listed.
        """
        if self.costs is None:
            return []
        return [
            {
                "layer": source.layer,
                "pass": source.passed,
                "line": source.line,
                "bytes": moved.bytes,
                "share": moved.bytes / self.costs.bytes,
                "count": moved.count,
            }
            for source, moved in largest(self.costs.movers, count)
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it; memory, bytes and collectives of one device, FLOPs of all."""
        return {
            "fits": self.fits,
            "spare": self.spare,
            **self._where(),
            "parameters": self._parameters(),
            "batch": self._batch(),
            "settings": self._settings(),
            "memory": self._memory(),
            **self._costs(),
            "roofline": self._roofline(),
            "compile_seconds": self.compilation.seconds,
        }

    def _memory(self) -> dict[str, int | None]:
        memory = self.compilation.memory
        return {
            **memory.to_json(),
            "reference_bytes": self.run.reference_bytes,
            "available_bytes": memory.available_bytes,
        }

    def _costs(self) -> dict[str, Any]:
        """What is counted of the program; None where there is none."""
        costs = self.costs
        collectives = costs and {
            kind: dataclasses.asdict(traffic)
            for kind, traffic in sorted(costs.collectives.items())
        }
        return {
            "flops": {
                "model": self.run.model_flops,
                "compiled": costs and costs.flops * self._num_devices,
            },
            "bytes": {"accessed": costs and costs.bytes},
            "movers": self.movers(),
            "collectives": collectives,
            "loops_of_unknown_length": costs and costs.unknown_loops,
        }

    def _roofline(self) -> dict[str, Any] | None:
        least = self.roofline
        if least is None:
            return None
        terms = dataclasses.asdict(least).items()
        return {
            "seconds": least.seconds,
            "bound": least.bound,
            **{f"{name}_seconds": seconds for name, seconds in terms},
        }

    @property
    def _num_devices(self) -> int:
        return self.run.steps.partitioner.mesh.devices.size

    def _where(self) -> dict[str, Any]:
        mesh = self.run.steps.partitioner.mesh
        return {
            "topology": self.devices.name,
            "device_kind": self.devices.kind,
            "devices": self._num_devices,
            "chips": self._num_devices // self.devices.devices_a_chip,
            "mesh": dict(mesh.shape),
        }

    def _parameters(self) -> dict[str, int]:
        shapes = self.run.steps.layout.shapes
        policy = {name: tree for name, tree in shapes.items() if name != VALUE}
        return {"policy": _count(policy), "value": _count(shapes.get(VALUE, {}))}

    def _batch(self) -> dict[str, int]:
        batch = self.run.batch
        rows, inputs = batch["encoder_input_tokens"].shape
        return {
            "rows": rows,
            "inputs": inputs,
            "targets": batch["decoder_target_tokens"].shape[1],
            "trajectories_per_row": batch["trajectory_weights"].shape[1],
        }

    def _settings(self) -> dict[str, Any]:
        model, updates = self.run.plan.model, self.run.run.updates
        network = model.network_config
        return {
            "objective": type(model.objective).__name__,
            "reference": self.run.plan.mode,
            "vocab_size": network.vocab_size,
            "dtype": str(network.dtype),
            "remat_policy": network.remat_policy,
            "scan_layers": network.scan_layers,
            "num_microbatches": updates.num_microbatches,
            "fsdp": bool(updates.mesh and updates.mesh.fsdp),
        }


def plan(run: RunSettings, devices: Slice) -> PlanReport:
    """Compiles a run's train step for devices and counts what it costs there.

    Neither data nor checkpoints are read, and no parameter is made.

    Args:
      run: as `dro-jax train` groups its settings.
      devices: of a slice, or this machine's, by `topologies.slice_of`.

    Raises:
      ConfigError: settings do not fit one another, or the devices.
    """
    traced = planned(run, devices)
    compilation = compiled(traced, devices)
    if compilation.text is None:
        return PlanReport(traced, devices, compilation, None, None)
    size = traced.steps.partitioner.mesh.devices.size
    costs = program_costs(compilation.text, size)
    least = roofline(costs, devices, run.model.network_config.dtype)
    return PlanReport(traced, devices, compilation, costs, least)


def _count(tree: Params) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
