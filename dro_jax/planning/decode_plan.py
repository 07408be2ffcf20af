"""What answering prompts costs on a slice: encoding them, and each token's step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from dro_jax.errors import ConfigError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.incremental import Steps, ban_padding, policy_params
from dro_jax.models.t5_config import T5Config
from dro_jax.models.token_draws import sample_token
from dro_jax.planning import memory as memory_lib
from dro_jax.planning.planned_run import Compilation, compiled_for
from dro_jax.planning.program_costs import Costs, program_costs
from dro_jax.planning.roofline import Roofline, roofline
from dro_jax.planning.topologies import Slice
from dro_jax.plurals import counted
from dro_jax.training.initialization import smallest_batch
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.sharding import MeshConfig, ParamLayout, Partitioner


@dataclasses.dataclass(frozen=True)
class PlannedProgram:
    """A program of decoding, compiled.

    Attributes:
      compilation: memory, time, and the program.
      costs: of one run of it, of one device; None where it does not fit.
      roofline: its least time; None where it does not fit, or the chip is not known.
    """

    compilation: Compilation
    costs: Costs | None
    roofline: Roofline | None

    def to_json(self, num_devices: int) -> dict[str, Any]:
        """Memory and bytes of one device, FLOPs of all."""
        costs, least = self.costs, self.roofline
        return {
            "memory": self.compilation.memory.to_json(),
            "flops": costs and costs.flops * num_devices,
            "bytes": costs and costs.bytes,
            "sent_bytes": costs and costs.sent_bytes,
            "collectives": costs
            and {kind: t.count for kind, t in sorted(costs.collectives.items())},
            "seconds": least and least.seconds,
            "bound": least and least.bound,
            "compile_seconds": self.compilation.seconds,
        }


@dataclasses.dataclass(frozen=True)
class DecodePlan:
    """How a policy answers a batch of prompts on devices.

    Attributes:
      network: of the policy.
      partitioner: where it lies.
      devices: that it was compiled for.
      parameters: how many.
      batch: `prompts`, `inputs` and `targets` tokens of each, `num_samples`.
      cache_dtype: of keys and values; None, that of the activations.
      cache_bytes: of a device; None where the prompts' program does not fit.
      encoding: all prompts encoded, and their keys and values for the decoder.
      step: a token of each response, drawn from all tokens; None where the first program
        does not fit.
    """

    network: T5Config
    partitioner: Partitioner
    devices: Slice
    parameters: int
    batch: dict[str, int]
    cache_dtype: str | None
    cache_bytes: int | None
    encoding: PlannedProgram
    step: PlannedProgram | None

    @property
    def fits(self) -> bool:
        """Whether a device's memory is enough for both programs."""
        both = self.encoding, self.step
        return all(one is not None and one.compilation.memory.fits for one in both)

    @property
    def spare(self) -> float | None:
        """The share of a device's memory that the larger of them leaves."""
        found = [
            one.compilation.memory.spare for one in (self.encoding, self.step) if one
        ]
        return None if None in found else min(found)

    @property
    def tokens_per_second(self) -> float | None:
        """Of all responses together at most, while none has ended."""
        if self.step is None or self.step.roofline is None:
            return None
        return self._rows / self.step.roofline.seconds

    @property
    def tokens_per_second_with_prompts(self) -> float | None:
        """The same where each response has the most tokens, its prompt encoded."""
        if self.tokens_per_second is None:
            return None
        length = self.batch["targets"]
        seconds = self.encoding.roofline.seconds + length * self.step.roofline.seconds
        return self._rows * length / seconds

    @property
    def _rows(self) -> int:
        return self.batch["prompts"] * self.batch["num_samples"]

    @property
    def num_devices(self) -> int:
        """Of the mesh."""
        return self.partitioner.mesh.devices.size

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        memory = self.encoding.compilation.memory
        return {
            "fits": self.fits,
            "spare": self.spare,
            "topology": self.devices.name,
            "device_kind": self.devices.kind,
            "devices": self.num_devices,
            "mesh": dict(self.partitioner.mesh.shape),
            "parameters": self.parameters,
            "dtype": str(self.network.dtype),
            "scan_layers": self.network.scan_layers,
            "cache_dtype": self.cache_dtype or str(self.network.dtype),
            "batch": self.batch,
            "available_bytes": memory.available_bytes,
            "cache_bytes": self.cache_bytes,
            "encoding": self.encoding.to_json(self.num_devices),
            "step": self.step and self.step.to_json(self.num_devices),
            "tokens_per_second": self.tokens_per_second,
            "tokens_per_second_with_prompts": self.tokens_per_second_with_prompts,
        }


def plan_decoding(
    run: RunSettings, devices: Slice, config: DecodingConfig
) -> DecodePlan:
    """Compiles the programs that answer a batch of prompts with a run's policy.

    No parameter is made, and neither data nor checkpoints are read. Prompts and responses
    have the most tokens that the run's may, and the batch is the run's.

    Args:
      run: as `dro-jax train` groups its settings.
      devices: of a slice, or this machine's, by `topologies.slice_of`.
      config: `num_samples` and `cache_dtype` are read.

    Raises:
      ConfigError: settings do not fit the devices.
    """
    partitioner = (run.updates.mesh or MeshConfig()).build(devices.devices)
    lengths, prompts = run.data.train.task_feature_lengths, run.data.train.batch_size
    if partitioner.num_rows(prompts) != prompts:
        raise ConfigError(
            f"BATCH_SIZE = {prompts} cannot be shared out evenly over "
            f"{counted(partitioner.mesh.shape['data'], 'device')}"
        )
    batch = {
        "prompts": prompts,
        "inputs": lengths["inputs"],
        "targets": config.limited_to(lengths["targets"]).max_decode_length,
        "num_samples": config.num_samples,
    }
    programs = _Programs(run, partitioner, devices, batch, config)
    encoding, cache = programs.encoding()
    step = None if cache is None else programs.step(cache)
    return DecodePlan(
        run.model.network_config,
        partitioner,
        devices,
        sum(int(np.prod(x.shape)) for x in jax.tree.leaves(programs.params)),
        batch,
        config.cache_dtype,
        None if cache is None else memory_lib.bytes_on_a_device(cache),
        encoding,
        step,
    )


class _Programs:
    """What is compiled, of arrays that are shapes and places alone."""

    def __init__(self, run, partitioner, devices, batch, config):
        self._partitioner, self._devices = partitioner, devices
        self._network, self._dtype = run.model.network, run.model.network_config.dtype
        self._batch, self._config = batch, config
        with partitioner.context():
            layout = ParamLayout.of(run.model, smallest_batch(), partitioner)
        self.params = jax.tree.map(
            _placed, policy_params(layout.shapes), policy_params(layout.shardings)
        )

    def encoding(self) -> tuple[PlannedProgram, Any]:
        """The first program, and the cache that it makes."""

        def start(params, prompts):
            return self._steps(params).start(prompts)

        made: list[jax.stages.Compiled] = []
        planned = self._compiled(
            jax.jit(start, keep_unused=True), self.params, self._prompts, made=made
        )
        if not made:
            return planned, None
        with self._partitioner.context():
            shapes = jax.eval_shape(start, self.params, self._prompts)
        return planned, jax.tree.map(_placed, shapes, made[0].output_shardings)

    def step(self, cache: Any) -> PlannedProgram:
        """The second one."""

        def step(cache, params, prompts, last_tokens):
            steps = self._steps(params)
            cache, logits = steps.step(cache, prompts, last_tokens)
            keys = jax.vmap(jax.random.key)(jnp.arange(len(last_tokens)))
            return cache, sample_token(keys, ban_padding(logits))

        rows = self._batch["prompts"] * self._batch["num_samples"]
        given = cache, self.params, self._prompts, self._by_row(rows)
        return self._compiled(jax.jit(step, donate_argnums=0, keep_unused=True), *given)

    def _steps(self, params) -> Steps:
        return Steps(
            self._network,
            params,
            rows_per_prompt=self._batch["num_samples"],
            max_decode_length=self._batch["targets"],
            cache_dtype=self._config.cache_dtype,
        )

    @property
    def _prompts(self) -> jax.ShapeDtypeStruct:
        return self._by_row(self._batch["prompts"], self._batch["inputs"])

    def _by_row(self, *shape: int) -> jax.ShapeDtypeStruct:
        return _placed(jax.ShapeDtypeStruct(shape, jnp.int32), self._partitioner.by_row)

    def _compiled(
        self,
        program: Callable[..., Any],
        *given: Any,
        made: list[jax.stages.Compiled] | None = None,
    ) -> PlannedProgram:
        with self._partitioner.context():
            lowered = program.lower(*given)
            state = memory_lib.bytes_on_a_device(given)
            compilation = compiled_for(lowered, self._devices, state, made)
        if compilation.text is None:
            return PlannedProgram(compilation, None, None)
        size = self._partitioner.mesh.devices.size
        costs = program_costs(compilation.text, size)
        least = roofline(costs, self._devices, self._dtype)
        return PlannedProgram(compilation, costs, least)


def _placed(shape: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)
