"""Orbax checkpoints in T5X's layout.

`MODEL_DIR/checkpoint_N/state/` holds the tree `target` (parameters, the policy at the
root), `state/step` and `state/param_states` (the optimiser), as T5X writes it;
`MODEL_DIR/checkpoint_N/run/` what a resumed run needs beside.
"""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import traverse_util

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import formats, t5x_orbax
from dro_jax.interop.t5x_tree import first_line
from dro_jax.models.networks import VALUE, Params
from dro_jax.training import checkpoint_ranking as ranking
from dro_jax.training import hosts
from dro_jax.training.per_layer import spans_layers
from dro_jax.training.run_files import CHECKPOINT, RUN
from dro_jax.training.run_progress import RunProgress, read_progress
from dro_jax.training.state import TrainState

_ITEM = "state"
_RUNNING = "running"
_DEFAULT_METRIC = "eval/loss"  # which all report but of objectives of rollouts


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When to save and what to keep.

    Attributes:
      period: steps between saves; the last step is always saved.
      keep: how many of the newest checkpoints to keep; None keeps all.
      keep_best: how many of the best to keep beside them, where a run evaluates.
      best_metric: which held-out metric ranks checkpoints, for example `eval/kl`. One
        whose value is not finite ranks behind all others, as one without evaluation.
      best_mode: `min` or `max`, which of its values is best.

    Raises:
      ConfigError: a setting that cannot be used.
    """

    period: int = 1000
    keep: int | None = 3
    keep_best: int = 1
    best_metric: str = _DEFAULT_METRIC
    best_mode: str = "min"

    def __post_init__(self):
        if self.keep is not None and self.keep < 1:
            raise ConfigError(
                f"CheckpointConfig.keep = {self.keep} (KEEP_CHECKPOINTS) would delete "
                "each checkpoint as soon as it is written: give at least 1, or None to "
                "keep all"
            )
        if self.keep_best < 0:
            raise ConfigError(
                f"CheckpointConfig.keep_best = {self.keep_best}: give 0 or more"
            )
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

    def check_metric(self, names: Callable[[], Collection[str]] | None) -> None:
        """Refuses a metric that ranks nothing, before there is anything to rank.

        Args:
          names: gives the names of what an evaluation reports; called only where the
            metric is not one that all do. None: nothing is evaluated.

        Raises:
          ConfigError: no evaluation reports `best_metric`, or there is none and a
            setting about the best has no effect.
        """
        if names is not None:
            if not self.ranks_by_loss():
                ranking.check_reported(self.best_metric, names())
            return
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("best_") and value != field.default:
                raise ConfigError(
                    f"CheckpointConfig.{field.name} = {value!r} has no effect, since "
                    "nothing is evaluated: set EVAL_DATASET (train.train_eval_dataset_cfg)"
                    ", or remove it"
                )

    def ranks_by_loss(self) -> bool:
        """Whether the metric is the one that is meant where none is chosen."""
        return self.best_metric == _DEFAULT_METRIC

    def rank(self, metrics: dict[str, float]) -> float:
        """What checkpoints are sorted by; without a finite number, behind all others."""
        value = metrics.get(self.best_metric, math.nan)
        worst = math.inf if self.best_mode == "min" else -math.inf
        return value if math.isfinite(value) else worst


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
        self._config, self._ranked = config, ranked
        # Of the last save, which may still be on its way to the disk.
        self.saving: RunProgress | None = None
        self._policy = ranking.preservation(config, ranked)
        self._manager = ocp.CheckpointManager(
            pathlib.Path(model_dir).absolute(),
            options=ocp.CheckpointManagerOptions(
                step_prefix=CHECKPOINT,
                preservation_policy=self._policy,
                best_fn=config.rank if ranked else None,
                best_mode=config.best_mode,
                # What there is, the first process tells all.
                single_host_load_and_broadcast=True,
                # A save that was killed has another name until it is whole.
                cleanup_tmp_directories=True,
            ),
        )

    @property
    def latest_step(self) -> int | None:
        """The newest complete checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, progress: RunProgress) -> None:
        """Start saving; returns before the files are written.

        Raises:
          ConfigError: the step was evaluated, and the metric that ranks it is not there.
        """
        step = int(state.step)
        # Before anything is written: a checkpoint without the metric would rank behind
        # all others, without a word.
        if self._ranked and progress.evaluation:
            ranking.check_reported(self._config.best_metric, progress.evaluation)
        if step == self._manager.latest_step():
            if self._ranked and progress.evaluation:
                self.wait()
                ranking.add_evaluation(self._manager, self._policy, step, progress)
            return
        self.saving = progress
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{
                    _ITEM: ocp.args.StandardSave(_to_tree(state)),
                    RUN: ocp.args.JsonSave(progress.to_json()),
                }
            ),
            metrics=dict(progress.evaluation) if self._ranked else None,
        )

    def _folder(self, step: int | None):
        return self._manager.directory / f"{CHECKPOINT}_{step}"

    def progress(self, like: TrainState) -> RunProgress | None:
        """What the newest checkpoint says of its run; None where there is none.

        Args:
          like: as of :meth:`restore`. That the checkpoint fits is known here, from its
            metadata, before anything is computed and any array is read.

        Raises:
          CheckpointError: the checkpoint does not fit, or is damaged.
        """
        step = self.latest_step
        if step is None:
            return None

        def read() -> dict[str, Any]:
            with self._refusing(step):
                self._check_fits(step, _shapes(like))
            return read_progress(self._folder(step))

        # Read once, so that no process sees another run than the others.
        return RunProgress.from_json(hosts.first_says(read))

    def restore(self, like: TrainState) -> TrainState:
        """The newest state.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s with the structure, types, shapes and
            shardings to restore to; the mesh need not be the one that saved it.

        Raises:
          CheckpointError: the checkpoint does not fit.
        """
        step, target = self.latest_step, _shapes(like)
        with self._refusing(step):
            hosts.first_says(lambda: self._check_fits(step, target))
            args = ocp.args.Composite(**{_ITEM: ocp.args.StandardRestore(target)})
            tree = self._manager.restore(step, args=args)[_ITEM]
        return TrainState(
            step=tree["state"]["step"],
            params=tree["target"],
            opt_state=tree["state"]["param_states"],
            running=tree["state"].get(_RUNNING, {}),
        )

    @contextlib.contextmanager
    def _refusing(self, step: int) -> Iterator[None]:
        """Turns what Orbax raises into a sentence."""
        try:
            yield
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise CheckpointError(
                f"checkpoint_{step} in {self._manager.directory} does not fit this run "
                f"({first_line(error)}): the folder was made by another model, value "
                "network or optimiser. Use another MODEL_DIR, or the gin files that "
                "made it (its config.gin)"
            ) from error

    def _check_fits(self, step: int | None, target: Any) -> None:
        """Raises ValueError naming what differs, before any array is read.

        Orbax reads all arrays at once: where one does not fit, it leaves the others'
        reads to end in an event loop that is closed.
        """
        saved = t5x_orbax.saved_shapes(self._folder(step))
        wanted = t5x_orbax.tree_shapes(target)
        if strange := sorted(saved.keys() ^ wanted.keys()):
            if spans_layers(saved) and any("/v_row/" in name for name in wanted):
                raise ValueError(
                    "its Adafactor took stacked layers (SCAN_LAYERS) for one parameter, "
                    "as earlier versions did, and this one takes each by itself: its "
                    "parameters can start a run, but this one cannot go on"
                )
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


def load_params(path: str | pathlib.Path, scan_layers: bool | None = None) -> Params:
    """The policy's and value's parameters in a checkpoint, as NumPy arrays.

    Args:
      path: what :func:`dro_jax.interop.formats.open_model` takes.
      scan_layers: the layout wanted, layers stacked or apart; None, as stored.

    Raises:
      CheckpointError: there is no checkpoint, or it cannot be read.
    """
    stored = formats.open_model(path, scan_layers=scan_layers)
    value = {f"{VALUE}/{name}": leaf for name, leaf in stored.value.items()}
    leaves = {**stored.policy, **value}
    return traverse_util.unflatten_dict(
        {name: leaf.read() for name, leaf in leaves.items()}, sep="/"
    )


def _shapes(like: TrainState) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, _to_tree(like))


def _to_tree(state: TrainState) -> dict[str, Any]:
    tree = {
        "target": state.params,
        "state": {"step": state.step, "param_states": state.opt_state},
    }
    if state.running:
        tree["state"][_RUNNING] = state.running
    return tree
