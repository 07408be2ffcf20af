"""Orbax checkpoints in T5X's layout.

`MODEL_DIR/checkpoint_N/state/` holds the tree `target` (parameters, the policy at the
root), `state/step` and `state/param_states` (the optimiser), as T5X writes it;
`MODEL_DIR/checkpoint_N/run/` what a resumed run needs beside.
"""

import dataclasses
import math
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import traverse_util
from orbax.checkpoint import checkpoint_managers

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import formats, t5x_orbax
from dro_jax.interop.t5x_tree import first_line
from dro_jax.models.networks import VALUE, Params
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.state import TrainState

_PREFIX = "checkpoint"
_ITEM = "state"
_RUN = "run"
_RUNNING = "running"


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
            self._check_fits(step, target)
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
                f"({first_line(error)}): the folder was made by another model, value "
                "network or optimiser. Use another MODEL_DIR, or the gin files that "
                "made it (its config.gin)"
            ) from error
        tree = restored[_ITEM]
        state = TrainState(
            step=tree["state"]["step"],
            params=tree["target"],
            opt_state=tree["state"]["param_states"],
            running=tree["state"].get(_RUNNING, {}),
        )
        return state, RunProgress.from_json(restored[_RUN])

    def _check_fits(self, step: int | None, target: Any) -> None:
        """Raises ValueError naming what differs, before any array is read.

        Orbax reads all arrays at once: where one does not fit, it leaves the others'
        reads to end in an event loop that is closed.
        """
        saved = t5x_orbax.saved_shapes(self._manager.directory / f"{_PREFIX}_{step}")
        wanted = t5x_orbax.tree_shapes(target)
        if strange := sorted(saved.keys() ^ wanted.keys()):
            where = "the checkpoint" if strange[0] in saved else "this run"
            raise ValueError(
                f"{strange[0]} is in {where} alone, as are {len(strange) - 1} others"
            )
        for name, shape in wanted.items():
            if saved[name] != shape:
                raise ValueError(
                    f"{name} has shape {saved[name]}, this run needs {shape}"
                )

    def wait(self) -> None:
        """Block until every started save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for saves and release the manager's threads."""
        self._manager.wait_until_finished()
        self._manager.close()


def load_params(path: str | pathlib.Path) -> Params:
    """The policy's and value's parameters in a checkpoint, as NumPy arrays.

    Args:
      path: what :func:`dro_jax.interop.formats.open_model` takes.

    Raises:
      CheckpointError: there is no checkpoint, or it cannot be read.
    """
    stored = formats.open_model(path)
    value = {f"{VALUE}/{name}": leaf for name, leaf in stored.value.items()}
    leaves = {**stored.policy, **value}
    return traverse_util.unflatten_dict(
        {name: leaf.read() for name, leaf in leaves.items()}, sep="/"
    )


def _to_tree(state: TrainState) -> dict[str, Any]:
    tree = {
        "target": state.params,
        "state": {"step": state.step, "param_states": state.opt_state},
    }
    if state.running:
        tree["state"][_RUNNING] = state.running
    return tree


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
