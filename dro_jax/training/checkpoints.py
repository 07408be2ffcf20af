"""Orbax checkpoints in T5X's layout.

`MODEL_DIR/checkpoint_N/state/` holds the tree `target` (parameters, the policy at the
root), `state/step` and `state/param_states` (the optimiser), as T5X writes it;
`MODEL_DIR/checkpoint_N/run/` what a resumed run needs beside.
"""

import contextlib
import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util
from orbax.checkpoint import checkpoint_managers

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.models.networks import Params
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.state import TrainState

_PREFIX = "checkpoint"
_ITEM = "state"
_RUN = "run"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When to save and what to keep.

    Attributes:
      period: steps between saves; the last step is always saved.
      keep: how many of the newest checkpoints to keep; None keeps all.
      keep_best: how many of the best to keep beside them, where a run evaluates.
      best_metric: which logged metric ranks checkpoints.
      best_mode: `min` or `max`.

    Raises:
      ConfigError: a setting that cannot be used.
    """

    period: int = 1000
    keep: int | None = 3
    keep_best: int = 1
    best_metric: str = "eval/loss"
    best_mode: str = "min"

    def __post_init__(self):
        if self.period < 1:
            raise ConfigError(
                f"CheckpointConfig.period = {self.period} (CHECKPOINT_PERIOD): give at "
                "least 1 step"
            )
        if self.best_mode not in ("min", "max"):
            raise ConfigError(
                f"CheckpointConfig.best_mode = {self.best_mode!r} is unknown: use 'min' "
                "or 'max'"
            )


class Checkpointer:
    """Saves asynchronously and restores train states under one model folder."""

    def __init__(
        self,
        model_dir: str | pathlib.Path,
        config: CheckpointConfig,
        *,
        ranked: bool = True,
    ):
        """Opens the folder; `ranked` says whether there will be metrics to rank by."""
        self._metric, self._ranked = config.best_metric, ranked
        # Where nothing was evaluated: behind all that was.
        self._worst = math.inf if config.best_mode == "min" else -math.inf
        self._manager = ocp.CheckpointManager(
            pathlib.Path(model_dir).absolute(),
            options=ocp.CheckpointManagerOptions(
                step_prefix=_PREFIX,
                preservation_policy=_preservation(config, ranked),
                best_fn=(lambda metrics: metrics[config.best_metric])
                if ranked
                else None,
                best_mode=config.best_mode,
                cleanup_tmp_directories=True,
            ),
        )

    @property
    def latest_step(self) -> int | None:
        """The newest complete checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, progress: RunProgress) -> None:
        """Start saving; returns before the files are written."""
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        ranking = {self._metric: progress.evaluation.get(self._metric, self._worst)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{
                    _ITEM: ocp.args.StandardSave(_to_tree(state)),
                    _RUN: ocp.args.JsonSave(progress.to_json()),
                }
            ),
            metrics=ranking if self._ranked else None,
        )

    def restore(self, like: TrainState) -> tuple[TrainState, RunProgress]:
        """The newest state and progress.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s with the structure, types, shapes and
            shardings to restore to; the mesh need not be the one that saved it.

        Raises:
          CheckpointError: the checkpoint does not fit.
        """
        step = self.latest_step
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _to_tree(like))
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    **{
                        _ITEM: ocp.args.StandardRestore(target),
                        _RUN: ocp.args.JsonRestore(),
                    }
                ),
            )
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise CheckpointError(
                f"checkpoint_{step} in {self._manager.directory} does not fit this run "
                f"({_first_line(error)}): the folder was made by another model, value "
                "network or optimiser. Use another MODEL_DIR, or the gin files that "
                "made it (its config.gin)"
            ) from error
        tree = restored[_ITEM]
        state = TrainState(
            step=tree["state"]["step"],
            params=tree["target"],
            opt_state=tree["state"]["param_states"],
        )
        return state, RunProgress.from_json(restored[_RUN])

    def wait(self) -> None:
        """Block until every started save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for saves and release the manager's threads."""
        self._manager.wait_until_finished()
        self._manager.close()


def load_params(path: str | pathlib.Path) -> Params:
    """The parameters in a checkpoint, as NumPy arrays; its optimiser is not read.

    Args:
      path: a model folder (its newest checkpoint is read) or one `checkpoint_N` folder.

    Raises:
      CheckpointError: there is no checkpoint, or it cannot be read.
    """
    leaves = load_leaves(path, dict.fromkeys(param_shapes(path)))
    return traverse_util.unflatten_dict(leaves, sep="/")


def param_shapes(path: str | pathlib.Path) -> dict[str, Any]:
    """What parameters a checkpoint holds, by `/`-joined name: leaves with a `shape`.

    Raises:
      CheckpointError: there is no checkpoint, or it cannot be read.
    """
    with _reading(find_checkpoint(path)) as (handler, state_dir):
        target = handler.metadata(state_dir).tree["target"]
        return traverse_util.flatten_dict(target, sep="/")


def load_leaves(
    path: str | pathlib.Path, wanted: Mapping[str, jax.sharding.Sharding | None]
) -> dict[str, Any]:
    """Some parameters of a checkpoint, each host reading just what it holds of them.

    Args:
      path: as in :func:`load_params`.
      wanted: by name as in :func:`param_shapes`: where the array goes, or None for a
        NumPy array.

    Raises:
      CheckpointError: there is no checkpoint, or it cannot be read.
    """
    with _reading(find_checkpoint(path)) as (handler, state_dir):
        target = handler.metadata(state_dir).tree["target"]
        leaves = traverse_util.flatten_dict(target, sep="/")
        arguments = {
            name: ocp.RestoreArgs(restore_type=np.ndarray)
            if sharding is None
            else ocp.ArrayRestoreArgs(sharding=sharding)
            for name, sharding in wanted.items()
        }

        def tree(flat):
            return {"target": traverse_util.unflatten_dict(flat, sep="/")}

        restored = handler.restore(
            state_dir,
            args=ocp.args.PyTreeRestore(
                item=tree({name: leaves[name] for name in wanted}),
                restore_args=tree(arguments),
                partial_restore=True,
            ),
        )
        return traverse_util.flatten_dict(restored["target"], sep="/")


def load_placed(path: str | pathlib.Path, shapes: Params, shardings: Any) -> Params:
    """A tree of parameters of a checkpoint, each on its devices and of its type.

    Raises:
      CheckpointError: there is no checkpoint, or it lacks one of them.
    """
    flat_shapes = traverse_util.flatten_dict(shapes, sep="/")
    found = param_shapes(path)
    for name, leaf in flat_shapes.items():
        if name not in found or tuple(found[name].shape) != tuple(leaf.shape):
            raise CheckpointError(
                f"the checkpoint at {path} does not fit the model: {name} is missing or "
                "of another shape. Use the gin model file that it was made with"
            )
    leaves = load_leaves(path, traverse_util.flatten_dict(shardings, sep="/"))
    return traverse_util.unflatten_dict(
        {name: leaf.astype(flat_shapes[name].dtype) for name, leaf in leaves.items()},
        sep="/",
    )


@contextlib.contextmanager
def _reading(folder: pathlib.Path):
    handler = ocp.PyTreeCheckpointHandler()
    try:
        yield handler, epath.Path(folder / _ITEM)
    except (ValueError, KeyError, TypeError, OSError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be read ({_first_line(error)}): it is "
            "incomplete, or no checkpoint of dro_jax or T5X (Orbax). Take another "
            "step's folder, or train it again"
        ) from error
    finally:
        handler.close()


def find_checkpoint(path: str | pathlib.Path) -> pathlib.Path:
    """The `checkpoint_N` folder that a path names; the newest of a model folder.

    Raises:
      CheckpointError: there is no such folder, or no complete checkpoint in it.
    """
    folder = pathlib.Path(path).absolute()
    if not folder.is_dir():
        raise CheckpointError(
            f"there is no checkpoint at {folder}: there is no such folder. Give a "
            "model folder or one of its checkpoint_N folders"
        )
    if (folder / _ITEM).is_dir():
        return folder
    steps = {
        int(match[1]): child
        for child in folder.iterdir()
        if (match := re.fullmatch(rf"{_PREFIX}_(\d+)", child.name))
        and (child / _ITEM).is_dir()
    }
    if not steps:
        raise CheckpointError(
            f"there is no complete checkpoint in {folder}: expected folders named "
            f"{_PREFIX}_N that contain '{_ITEM}'. Was the run stopped before its first "
            "save?"
        )
    return steps[max(steps)]


def _to_tree(state: TrainState) -> dict[str, Any]:
    return {
        "target": state.params,
        "state": {"step": state.step, "param_states": state.opt_state},
    }


def _preservation(config: CheckpointConfig, ranked: bool):
    policies = [checkpoint_managers.LatestN(config.keep)]
    if ranked and config.keep is not None and config.keep_best:
        policies.append(
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics[config.best_metric],
                reverse=config.best_mode == "min",
                n=config.keep_best,
                keep_checkpoints_without_metrics=False,
            )
        )
    return checkpoint_managers.AnyPreservationPolicy(policies)


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
