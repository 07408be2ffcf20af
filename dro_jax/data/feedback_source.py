"""A seqio source whose records have all been validated before TensorFlow sees one."""

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from dro_jax.data import scratch
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import check_policy
from dro_jax.data.reward_statistics import RewardStatistics, Summary
from dro_jax.data.reward_transforms import Function, TransformChain, transformed
from dro_jax.data.sources import RecordSource
from dro_jax.data.split_loading import LoadedSplit, load_split
from dro_jax.data.store.preparation import open_records
from dro_jax.data.store.recipe import Recipe
from dro_jax.data.store.stored_records import StoredRecords
from dro_jax.errors import DataError
from dro_jax.messages import note

TRAIN = "train"


class FeedbackSource(seqio.DataSource):
    """Validated trajectories of a `RecordSource`.

    A split is read once per process and stays in memory; errors in records surface
    as `DataError` before any TensorFlow pipeline starts. Each example has `inputs` and
    `targets` (texts), `reward` float32 ``[1]`` and `record_id` int32 ``[2]``: (the
    fingerprint of the task's name, the record's index in its split). That index does
    not depend on shuffling, sharding or dropped records.

    Args:
      task: the task's name.
      source: yields the records.
      record_format: how fields become trajectories.
      transforms: what is done to rewards, fitted on the split `train`.
      on_bad_record: `error` or `drop`.
      vocabulary: of prompts and responses.
    """

    def __init__(
        self,
        task: str,
        source: RecordSource,
        record_format: RecordFormat,
        transforms: TransformChain,
        on_bad_record: str,
        vocabulary: seqio.Vocabulary,
    ):
        super().__init__(
            splits=(), caching_permitted=False, performs_internal_shuffling=True
        )
        self.recipe = Recipe(
            task, source, record_format, check_policy(on_bad_record), vocabulary
        )
        self._task = task
        self._transforms = transforms
        self._records: dict[str, StoredRecords] = {}
        self._loaded: dict[str, LoadedSplit] = {}
        self._tensors: dict[str, dict[str, tf.Tensor]] = {}
        self._rewards: dict[str, np.ndarray] = {}
        self._transform: Function | None = None
        self._lock = threading.RLock()

    @property
    def record_format(self) -> RecordFormat:
        """How records are read: field names, templates, reward kind."""
        return self.recipe.record_format

    @property
    def splits(self) -> Sequence[str]:
        return self.recipe.source.splits

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        return [split]

    def num_input_examples(self, split: str) -> int:
        return len(self.load(split))

    def __str__(self) -> str:
        return self.recipe.source.description()

    def records(self, split: str) -> StoredRecords:
        """The split's valid records, prepared at the first use or opened where they are.

        Raises:
          DataError: it cannot be used; the message names the record.
          ConfigError: a template names a field that records do not have.
        """
        with self._lock:
            if split not in self._records:
                records = open_records(self.recipe, split)
                if records.report.num_dropped:
                    note(f"task '{self._task}', {records.report.summary()}")
                self._records[split] = records
            return self._records[split]

    def load(self, split: str) -> LoadedSplit:
        """The split's valid records, read at the first call.

        Raises:
          DataError: it cannot be used; the message names the record.
        """
        with self._lock:
            if split not in self._loaded:
                self._loaded[split] = load_split(
                    self.recipe.source,
                    split,
                    self.record_format,
                    on_bad_record=self.recipe.on_bad_record,
                    task=self._task,
                )
            return self._loaded[split]

    def rewards(self, split: str) -> np.ndarray:
        """``[N]`` float32: the rewards that training sees.

        Raises:
          DataError: the split, or the train split that a transform is fitted on, cannot
            be used, or the transform gives a number that is not finite.
        """
        with self._lock:
            if split not in self._rewards:
                self._rewards[split] = self._transformed(split)
            return self._rewards[split]

    def statistics(self, split: str = TRAIN) -> RewardStatistics:
        """Figures of the rewards before and after the transform."""
        loaded = self.load(split)
        return RewardStatistics(
            task=self._task,
            split=split,
            transform=str(self._transforms),
            recorded=Summary.of(loaded.rewards),
            transformed=Summary.of(self.rewards(split)),
            num_dropped=len(loaded.report.dropped),
        )

    def tensors(self, split: str) -> dict[str, tf.Tensor]:
        """All examples of a split at once, `feature: [N, ...]`."""
        with self._lock:
            if split not in self._tensors:
                loaded = self.load(split)
                ids = np.stack(
                    [np.full(len(loaded), fingerprint(self._task)), loaded.indices], 1
                )
                features = {
                    "inputs": np.array([text.encode() for text in loaded.prompts], "O"),
                    "targets": np.array(
                        [text.encode() for text in loaded.responses], "O"
                    ),
                    "reward": self.rewards(split)[:, None],
                    "record_id": ids.astype(np.int32),
                }
                with tf.init_scope():
                    self._tensors[split] = {
                        name: tf.constant(values) for name, values in features.items()
                    }
            return self._tensors[split]

    def get_dataset(
        self,
        split: str = TRAIN,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> tf.data.Dataset:
        """The split's examples; shuffling is a full permutation, new in each epoch."""
        positions = np.arange(len(self.load(split)))
        if shard_info is not None:
            positions = positions[shard_info.index :: shard_info.num_shards]
        tensors = self.tensors(split)
        dataset = tf.data.Dataset.from_tensor_slices(positions)
        if shuffle and positions.size:
            dataset = dataset.shuffle(positions.size, seed=seed)
        return dataset.map(lambda position: take(tensors, position))

    def _transformed(self, split: str) -> np.ndarray:
        loaded = self.load(split)
        with np.errstate(over="ignore", invalid="ignore"):
            rewards = transformed(self._fitted(), loaded.rewards)
        for part in scratch.chunks(len(rewards)):
            bad = part.start + np.flatnonzero(~np.isfinite(rewards[part]))
            if bad.size:
                raise DataError(
                    f"{loaded.identities[bad[0]]}: reward_transform {self._transforms} "
                    f"turns the reward {loaded.rewards[bad[0]]:g} into "
                    f"{rewards[bad[0]]}: clip or normalise the rewards first"
                )
        return rewards

    def _fitted(self) -> Function:
        with self._lock:
            if self._transform is None:
                if self._transforms.needs_train_split:
                    if TRAIN not in self.splits:
                        raise DataError(
                            f"task '{self._task}': reward_transform {self._transforms} "
                            f"is fitted on the split '{TRAIN}', which the source does "
                            "not have: add that split or use another transform"
                        )
                    train = self.load(TRAIN).rewards
                else:
                    train = np.zeros(0)
                self._transform = self._transforms.fit(train)
            return self._transform


def take(tensors: dict[str, tf.Tensor], positions: tf.Tensor) -> dict[str, tf.Tensor]:
    """Examples out of `FeedbackSource.tensors`, one or many."""
    return {name: tf.gather(values, positions) for name, values in tensors.items()}


def joined(parts: Sequence[dict[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
    """The examples of several tasks, end to end."""
    if len(parts) == 1:
        return parts[0]
    return {name: tf.concat([part[name] for part in parts], 0) for name in parts[0]}


def fingerprint(name: str) -> int:
    """31 bits that stand for a task's name in record ids."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1
