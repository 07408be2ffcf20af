"""A trained model rebuilt from its folder, for the commands that use one."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from dro_jax.cli import gin_setup
from dro_jax.data.mixtures import task_for_inputs
from dro_jax.data.modules import import_modules
from dro_jax.data.settings import check_lengths
from dro_jax.data.tasks import FeedbackTask
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import formats
from dro_jax.interop.network_shape import differences, parameter_shapes
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.training import initialization
from dro_jax.training.hosts import agree
from dro_jax.training.run_files import CONFIG
from dro_jax.training.sharding import MeshConfig, Partitioner

TASK_OF_A_FOLDER = ("MIXTURE_OR_TASK_MODULE", "MIXTURE_OR_TASK_NAME")
# All that is read of a folder's config.gin, which may be anybody's.
READ_OF_A_FOLDER = ("MODEL", "TASK_FEATURE_LENGTHS", *TASK_OF_A_FOLDER)
_MESH = {
    "DATA_PARALLEL": "data",
    "MODEL_PARALLEL": "model",
    "FSDP": "fsdp",
    "SHARD_ACTIVATIONS": "shard_activations",
}
_WATCHDOG = "WATCHDOG_SECONDS"
_UNSET = object()
_KINDS = {
    "MODEL": (FeedbackModel, "a model, as @model.FeedbackModel() is"),
    "TASK_FEATURE_LENGTHS": (Mapping, "lengths, as {'inputs': 512, 'targets': 256}"),
    "MIXTURE_OR_TASK_MODULE": ((str, list, tuple, type(None)), "text: modules' names"),
    "MIXTURE_OR_TASK_NAME": (str, "text: the name of a task or mixture"),
    "DATA_PARALLEL": ((int, type(None)), "a number of devices, or None"),
    "MODEL_PARALLEL": (int, "a number of devices"),
    "FSDP": (bool, "True or False"),
    "SHARD_ACTIVATIONS": (bool, "True or False"),
    _WATCHDOG: ((int, float, type(None)), "seconds, or None"),
}


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a model folder holds.

    Attributes:
      model: network, value estimate and objective.
      params: the parameters of one checkpoint, on the mesh.
      mesh: all devices, of all hosts.
      task: the feedback task it was trained on, of a mixture one of those that read
        alike: vocabulary, templates, truncation.
      lengths: the task feature lengths it was trained with.
      watchdog_seconds: after so long without a batch several processes end; None, never.
    """

    model: FeedbackModel
    params: Params
    mesh: Partitioner
    task: FeedbackTask
    lengths: Mapping[str, int]
    watchdog_seconds: float | None


def restore(arguments, *, value: bool = False) -> Restored:
    """The model of `--model_dir`, its gin configuration overridden by the flags.

    Its parameters are spread as the run's were, as far as there are the devices. All
    processes of a command must call this; where one cannot read the folder, all refuse.

    Args:
      arguments: the command line.
      value: whether the value estimate is wanted too, where the model has one.

    Raises:
      CheckpointError: the folder is missing or holds no checkpoint that fits.
      ConfigError: its configuration cannot be used.
    """
    return agree(lambda: _restore(arguments, value))


def _restore(arguments, value: bool) -> Restored:
    folder = pathlib.Path(arguments.model_dir)
    config = folder / CONFIG
    if not config.is_file():
        raise CheckpointError(
            f"{folder} is no folder of `dro-jax train`: it has no config.gin"
        )
    gin_setup.parse(
        [str(config), *arguments.gin_file],
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
        only=(*READ_OF_A_FOLDER, *_MESH, _WATCHDOG),
    )
    name = f"checkpoint_{arguments.step}" if arguments.step is not None else ""
    model, lengths, module, task = map(_value, READ_OF_A_FOLDER)
    check_lengths("DatasetConfig", lengths)
    mesh = _mesh(arguments.gin_bindings)
    params = _params(folder / name, model, mesh, value)
    import_modules(module)
    watchdog_seconds = _value(_WATCHDOG) if _is_set(_WATCHDOG) else None
    task = task_for_inputs(task, module)
    return Restored(model, params, mesh, task, lengths, watchdog_seconds)


def mesh_settings() -> dict[str, Any]:
    """The settings of `MeshConfig` that the configuration's macros give."""
    return {field: _value(name) for name, field in _MESH.items() if _is_set(name)}


def _is_set(name: str) -> bool:
    return gin_setup.macro(name, default=_UNSET) is not _UNSET


def _mesh(bindings: Sequence[str]) -> Partitioner:
    """All devices, model-parallel as the run was, or as flags say."""
    settings = mesh_settings()
    typed = {binding.partition("=")[0].strip() for binding in bindings}
    # The run's own devices are not those here: of what it had, only what divides them.
    if "DATA_PARALLEL" not in typed:
        settings.pop("data", None)
    if "MODEL_PARALLEL" not in typed:
        model = settings.get("model", 1)
        settings["model"] = math.gcd(model, jax.device_count())
    return MeshConfig(**settings).build()


def _value(name: str) -> Any:
    """A macro's value, which must be of the kind that a run has there.

    Raises:
      ConfigError: it is not set, or is something else.
    """
    kinds, words = _KINDS[name]
    value = gin_setup.macro(name)
    if not isinstance(value, kinds):
        raise ConfigError(f"{name} = {value!r} must be {words}")
    return value


def _params(
    path: pathlib.Path, model: FeedbackModel, mesh: Partitioner, value: bool
) -> Params:
    """A checkpoint's parameters, which are those of the model."""
    config = model.network_config
    stored = formats.open_model(path, scan_layers=config.scan_layers)
    found = {name: leaf.shape for name, leaf in stored.policy.items()}
    if problems := differences(parameter_shapes(config), found, "the model"):
        raise CheckpointError(
            f"the checkpoint at {path} does not fit the model that its config.gin and "
            f"the flags describe: {problems}. Leave out the gin files and settings of "
            "another model"
        )
    return initialization.stored_params(model, stored, mesh, value=value)
