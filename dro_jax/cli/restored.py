"""A trained model rebuilt from its folder, for the commands that use one."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from dro_jax.cli import gin_setup
from dro_jax.data.mixtures import task_for_inputs
from dro_jax.data.modules import import_modules
from dro_jax.data.settings import check_lengths
from dro_jax.data.tasks import FeedbackTask
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop.network_shape import differences, parameter_shapes
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE, Params
from dro_jax.training import checkpoints
from dro_jax.training.run_files import CONFIG

TASK_OF_A_FOLDER = ("MIXTURE_OR_TASK_MODULE", "MIXTURE_OR_TASK_NAME")
# All that is read of a folder's config.gin, which may be anybody's.
READ_OF_A_FOLDER = ("MODEL", "TASK_FEATURE_LENGTHS", *TASK_OF_A_FOLDER)
_KINDS = {
    "MODEL": (FeedbackModel, "a model, as @model.FeedbackModel() is"),
    "TASK_FEATURE_LENGTHS": (Mapping, "lengths, as {'inputs': 512, 'targets': 256}"),
    "MIXTURE_OR_TASK_MODULE": ((str, list, tuple, type(None)), "text: modules' names"),
    "MIXTURE_OR_TASK_NAME": (str, "text: the name of a task or mixture"),
}


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a model folder holds.

    Attributes:
      model: network, value estimate and objective.
      params: the parameters of one checkpoint.
      task: the feedback task it was trained on, of a mixture one of those that read
        alike: vocabulary, templates, truncation.
      lengths: the task feature lengths it was trained with.
    """

    model: FeedbackModel
    params: Params
    task: FeedbackTask
    lengths: Mapping[str, int]


def restore(arguments) -> Restored:
    """The model of `--model_dir`, its gin configuration overridden by the flags.

    Raises:
      CheckpointError: the folder is missing or holds no checkpoint that fits.
      ConfigError: its configuration cannot be used.
    """
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
        only=READ_OF_A_FOLDER,
    )
    name = f"checkpoint_{arguments.step}" if arguments.step is not None else ""
    model, lengths, module, task = map(_value, READ_OF_A_FOLDER)
    check_lengths("DatasetConfig", lengths)
    params = _params(folder / name, model)
    import_modules(module)
    return Restored(model, params, task_for_inputs(task, module), lengths)


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


def _params(path: pathlib.Path, model: FeedbackModel) -> Params:
    """A checkpoint's parameters, which are those of the model."""
    config = model.network_config
    params = checkpoints.load_params(path, scan_layers=config.scan_layers)
    policy = {name: part for name, part in params.items() if name != VALUE}
    found = {name: x.shape for name, x in flatten_dict(policy, sep="/").items()}
    if problems := differences(parameter_shapes(config), found, "the model"):
        raise CheckpointError(
            f"the checkpoint at {path} does not fit the model that its config.gin and "
            f"the flags describe: {problems}. Leave out the gin files and settings of "
            "another model"
        )
    return params
