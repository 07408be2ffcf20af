"""Where a run under T5X starts: from a checkpoint in any format, as T5X restores it."""

from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.vocabularies import own
from dro_jax.interop.locations import normalised
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import policy_params
from dro_jax.models.t5x_contract import REFERENCE
from dro_jax.t5x_runtime.data import AT_START
from dro_jax.t5x_runtime.forward_steps import forward_steps
from dro_jax.training import initialization
from dro_jax.training.before.reference import Mode, check_mode, check_path, mode_for
from dro_jax.training.sharding import MeshConfig

_FOLDER = "initial_checkpoint"


def initial_checkpoint(
    path: str | None,
    *,
    model: FeedbackModel,
    model_dir: str,
    reference: Mode | None = None,
    random_seed: int = 0,
    mesh: MeshConfig | None = None,
) -> str | list[str]:
    """A T5X checkpoint of the first parameters, made from one in any format.

    Policy, value estimate and, as a frozen copy, the reference are those that `dro-jax
    train` starts from with the same seed. It lies in `MODEL_DIR/initial_checkpoint`.

    Args:
      path: a checkpoint or model folder of dro_jax, T5X or Hugging Face; None starts
        from random parameters.
      model: what is trained.
      model_dir: T5X's.
      reference: as for `get_dataset`.
      random_seed: for parameters that the checkpoint does not hold.
      mesh: how the parameters are spread over devices; default replicated.

    Returns:
      What `utils.RestoreCheckpointConfig.path` takes.

    Raises:
      CheckpointError: the checkpoint cannot be read or does not fit the model.
      ConfigError: the objective needs a reference, and there is no path.
    """
    if reference is not None:
        check_mode(reference, "REFERENCE")
    check_path(model, path)
    if path is None:
        return []
    folder = epath.Path(normalised(model_dir))
    target = folder / _FOLDER / "checkpoint_0"
    if any(folder.glob("checkpoint_*")):
        return str(target)  # a run that goes on: T5X reads its own checkpoint
    # What a run left that was stopped before its first save may be of other settings.
    if jax.process_index() == 0:
        target.parent.rmtree(missing_ok=True)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("initial_checkpoint")
    initialization.check_tokenizer(path, own(model.input_vocabulary))
    steps = forward_steps(model, mesh)
    init_key, _ = jax.random.split(jax.random.key(random_seed))
    state = steps.start(path, init_key)
    tree: dict[str, Any] = {
        "target": state.params,
        "state": {"step": state.step},
    }
    mode = mode_for(model, reference)
    if model.objective.needs.reference and mode == "frozen_copy":
        tree["flax_mutables"] = {REFERENCE: policy_params(state.params)}
    options = ocp.CheckpointManagerOptions(step_prefix="checkpoint")
    with ocp.CheckpointManager(target.parent, options=options) as manager:
        manager.save(0, args=ocp.args.Composite(state=ocp.args.StandardSave(tree)))
    # T5X restores the data's position with the parameters.
    (target / "dataset").mkdir(exist_ok=True)
    (target / "dataset" / AT_START).touch()
    return str(target)


def task_vocabulary(mixture_or_task_name: str, module: str | None = None):
    """The vocabulary of a feedback task or mixture, as seqio's.

    T5X compares a model's with the features of seqio's task, and writes texts with it.

    Args:
      mixture_or_task_name: its name.
      module: the module that registers it.
    """
    # TensorFlow takes seconds to import; who runs T5X has it.
    from dro_jax.data.seqio_vocabularies import as_seqio

    lengths = {"inputs": 1, "targets": 1}
    config = DatasetConfig(mixture_or_task_name, lengths, module=module)
    return as_seqio(config.vocabulary)
