"""A trained model rebuilt from its folder, for the commands that use one."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from dro_jax.cli import gin_setup
from dro_jax.cli.task_modules import forgotten_tasks
from dro_jax.data.mixtures import task_for_inputs
from dro_jax.data.modules import import_modules
from dro_jax.data.settings import check_lengths
from dro_jax.data.tasks import FeedbackTask
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import formats
from dro_jax.interop.network_shape import differences, parameter_shapes
from dro_jax.interop.stored_model import StoredModel
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
_START = "INITIAL_CHECKPOINT_PATH"
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
    _START: ((str, type(None)), "a checkpoint's path, or None"),
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


@dataclasses.dataclass(frozen=True)
class Described:
    """What a model folder says of itself, before any parameter is read.

    Attributes:
      model, mesh, task, lengths, watchdog_seconds: as of :class:`Restored`.
      stored: the checkpoint, of which no array has been read.
      started_from: the checkpoint that its policy started from, as its settings name it;
        None, from nothing.
    """

    model: FeedbackModel
    mesh: Partitioner
    task: FeedbackTask
    lengths: Mapping[str, int]
    watchdog_seconds: float | None
    stored: StoredModel
    started_from: str | None

    def restored(self, *, value: bool = False) -> Restored:
        """With the parameters, those of the value estimate too if they are wanted."""
        params = initialization.stored_params(
            self.model, self.stored, self.mesh, value=value
        )
        return Restored(
            self.model,
            params,
            self.mesh,
            self.task,
            self.lengths,
            self.watchdog_seconds,
        )


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
    folder = pathlib.Path(arguments.model_dir)
    step = arguments.step
    return agree(lambda: describe(arguments, folder, step).restored(value=value))


def describe(
    arguments,
    folder: pathlib.Path,
    step: int | None,
    *,
    mesh: Partitioner | None = None,
) -> Described:
    """What a model folder says, its gin configuration overridden by the flags.

    May be called for several folders, one after another: gin's configuration is the
    last one's, and a task that its gin file made is registered no longer.

    Args:
      arguments: the command line.
      folder: of `dro-jax train`.
      step: which checkpoint; None, the newest.
      mesh: where parameters are to go; default as the run's were.

    Raises:
      CheckpointError, ConfigError: as :func:`restore`.
    """
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
        only=(*READ_OF_A_FOLDER, *_MESH, _WATCHDOG, _START),
    )
    name = f"checkpoint_{step}" if step is not None else ""
    model, lengths, module = map(_value, READ_OF_A_FOLDER[:-1])
    if model.reward_config is not None:
        raise ConfigError(
            f"{folder} holds a reward model, which scores responses and is no policy: "
            "name it as REWARD_MODEL_DIR of gin_configs/rewards/reward_model.gin"
        )
    check_lengths("DatasetConfig", lengths)
    mesh = mesh or _mesh(arguments.gin_bindings)
    stored = _stored(folder / name, model)
    import_modules(module)
    with forgotten_tasks():
        task = task_for_inputs(_value(READ_OF_A_FOLDER[-1]), module)
    watchdog_seconds = _value(_WATCHDOG) if _is_set(_WATCHDOG) else None
    started_from = _value(_START) if _is_set(_START) else None
    return Described(model, mesh, task, lengths, watchdog_seconds, stored, started_from)


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


def _stored(path: pathlib.Path, model: FeedbackModel) -> StoredModel:
    """A checkpoint whose policy has the shapes of the model's."""
    stored = formats.open_model(path, scan_layers=model.network_config.scan_layers)
    check_same_network(stored, model, path)
    return stored


def check_same_network(
    stored: StoredModel, model: FeedbackModel, path: pathlib.Path
) -> None:
    """Refuses a checkpoint that does not hold a policy of a model's shapes.

    Raises:
      CheckpointError: it does not.
    """
    found = {name: leaf.shape for name, leaf in stored.policy.items()}
    shapes = parameter_shapes(model.network_config)
    if problems := differences(shapes, found, "the model"):
        raise CheckpointError(
            f"the checkpoint at {path} does not fit the model that its config.gin and "
            f"the flags describe: {problems}. Leave out the gin files and settings of "
            "another model"
        )
