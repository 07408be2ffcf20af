"""T5X's data functions, from the batches of the built-in trainer.

`t5x.train` takes them as `get_dataset_fn` and `train_eval_get_dataset_fn`. They give the
same batches in the same order as `dro-jax train` with the same seed, packed or not, with
cached reference log-probabilities where these are asked for. T5X saves their position
where `save_dataset = True`, and goes on from it exactly.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clu.data import dataset_iterator
from etils import epath

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.interface import START, HostBatch, Position, Shard
from dro_jax.data.settings import shard_rows
from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.t5x_runtime.reference_data import ReferenceData
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.mesh_steps import device_fields
from dro_jax.training.run_progress import check_identity, check_order, position_after

AT_START = "at_start"  # a file in a checkpoint's `dataset` folder: nothing was read yet


def get_dataset(
    cfg: Any,
    shard_id: int,
    num_shards: int,
    feature_converter_cls: Callable[..., Any],
    num_epochs: int | None = None,
    continue_from_last_checkpoint: bool = False,
    *,
    reference: ReferenceData,
) -> "FeedbackIterator":
    """Training data for T5X: `train.get_dataset_fn`.

    Args:
      cfg: T5X's `utils.DatasetConfig`.
      shard_id: which part of each batch's rows this host feeds.
      num_shards: how many parts there are.
      feature_converter_cls: not used; the rows are those it would make.
      num_epochs: None repeats for ever.
      continue_from_last_checkpoint: must be False, as for T5X's own.
      reference: where reference log-probabilities come from.

    Raises:
      ConfigError: a setting cannot be used.
    """
    del feature_converter_cls
    if continue_from_last_checkpoint:
        raise ConfigError(
            "get_dataset goes on from a saved position by itself "
            "(utils.SaveCheckpointConfig.save_dataset = True): leave "
            "continue_from_last_checkpoint False"
        )
    config = _config(cfg, num_epochs)
    shard = shard_id, num_shards
    shard_rows(shard, config.batch_size)
    prepared = reference.prepared(config)
    if prepared.train is not None:
        return FeedbackIterator(prepared.train, shard, prepared.identity)
    if prepared.held_out is not None:
        return FeedbackIterator(prepared.held_out, shard)
    raise DataError(f"{config.name} has no split '{config.split}'")


def get_eval_datasets(
    cfg: Any,
    shard_id: int,
    num_shards: int,
    eval_steps: int,
    feature_converter_cls: Callable[..., Any],
    *,
    reference: ReferenceData,
) -> dict[str, "HeldOut"]:
    """Held-out data for T5X: `train.train_eval_get_dataset_fn`.

    Args:
      cfg: T5X's `utils.DatasetConfig`.
      shard_id, num_shards, feature_converter_cls, reference: as for
        :func:`get_dataset`.
      eval_steps: the most batches of an evaluation; a split that has fewer is read once.

    Returns:
      The data by their task's or mixture's name; none where there is no such split.
    """
    del feature_converter_cls
    config = _config(cfg, num_epochs=1)
    shard = shard_id, num_shards
    shard_rows(shard, config.batch_size)
    held_out = reference.prepared(config).held_out
    if held_out is None:  # which has been said; T5X then evaluates nothing
        return {}
    return {config.name: HeldOut(FeedbackIterator(held_out, shard), eval_steps)}


class FeedbackIterator(dataset_iterator.DatasetIterator):
    """Batches of a data set for one host, with a position that can be saved.

    Args:
      data: gives the batches.
      shard: which part of each batch's rows this host feeds, of how many.
      identity: what data and reference are, which a run that goes on must find again.
    """

    def __init__(
        self,
        data: PreparedData,
        shard: Shard,
        identity: Mapping[str, str] | None = None,
    ):
        self._data = data
        self._shard = shard
        self._identity = dict(identity or {})
        self._position: Position = START
        self._batches: Iterator[HostBatch] | None = None
        self._spec: Mapping[str, dataset_iterator.ArraySpec] | None = None

    @property
    def name(self) -> str:
        """The task's or mixture's."""
        return self._data.dataset.name

    def __next__(self) -> HostBatch:
        if self._batches is None:
            self._batches = self._data.batches(self._position, self._shard)
        batch = next(self._batches)
        self._position = position_after(batch)
        return device_fields(batch)

    @property
    def element_spec(self) -> Mapping[str, dataset_iterator.ArraySpec]:
        """Types and shapes of a batch."""
        if self._spec is None:
            first = device_fields(next(self._data.batches(START, self._shard)))
            self._spec = {
                name: dataset_iterator.ArraySpec(x.dtype, x.shape)
                for name, x in first.items()
            }
        return self._spec

    def reset(self) -> None:
        """Begin anew."""
        self._position, self._batches = START, None

    def save(self, filename: epath.PathLike) -> None:
        """Write where the next batch begins, and of what data."""
        saved = {"position": self._position, "identity": self._identity}
        epath.Path(filename).write_text(json.dumps(saved))

    def restore(self, filename: epath.PathLike) -> None:
        """Go on from a position that was written; from the start, a run's beginning.

        Raises:
          CheckpointError: there is no position, or it is one of other data or another
            reference.
        """
        path = epath.Path(filename)
        self.reset()
        if path.exists():
            saved = json.loads(path.read_text())
            # Earlier versions wrote the position alone, of orders of their own.
            if began := saved.get("identity"):
                check_identity(began, self._identity)
            else:
                check_order({}, self._identity)
            record, row = saved["position"]
            self._position = record, row
        # Over several hosts T5X gives each a folder of its own.
        elif not any((folder / AT_START).exists() for folder in path.parents[:2]):
            raise CheckpointError(
                f"the checkpoint has no data position, {path}: it was saved by other "
                "data functions, or by another number of hosts. Train on with "
                "utils.SaveCheckpointConfig.save_dataset = False, which begins the data "
                "anew"
            )

    load = restore


class HeldOut:
    """The same few batches whenever it is read.

    Args:
      iterator: of the data, from their beginning.
      num_batches: the most that are read.
    """

    def __init__(self, iterator: FeedbackIterator, num_batches: int):
        self._iterator = iterator
        self._num_batches = num_batches

    @property
    def element_spec(self) -> Mapping[str, dataset_iterator.ArraySpec]:
        """Types and shapes of a batch."""
        return self._iterator.element_spec

    def __iter__(self) -> Iterator[HostBatch]:
        self._iterator.reset()
        return itertools.islice(self._iterator, self._num_batches)


def _config(cfg: Any, num_epochs: int | None) -> DatasetConfig:
    if cfg.seed is None and cfg.shuffle:
        raise ConfigError(
            "the data set's seed is None, which T5X replaces by the time of day: set "
            "RANDOM_SEED (utils.DatasetConfig.seed), so that the run can be repeated"
        )
    return DatasetConfig(
        mixture_or_task_name=cfg.mixture_or_task_name,
        task_feature_lengths=cfg.task_feature_lengths,
        split=cfg.split,
        batch_size=cfg.batch_size,
        shuffle=cfg.shuffle,
        seed=cfg.seed or 0,
        num_epochs=num_epochs,
        pack=cfg.pack,
        use_cached=cfg.use_cached,
        module=cfg.module,
    )
