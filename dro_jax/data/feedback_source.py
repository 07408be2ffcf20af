"""A source of trajectories that have all been validated before training sees one."""

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.modules import module_names
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import check_policy
from dro_jax.data.reward_statistics import RewardStatistics, Summary
from dro_jax.data.reward_transforms import Function, TransformChain, transformed
from dro_jax.data.sources import RecordSource
from dro_jax.data.store.preparation import is_prepared, open_records
from dro_jax.data.store.recipe import Recipe
from dro_jax.data.store.stored_records import StoredRecords
from dro_jax.data.vocabularies import Vocabulary
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note

TRAIN = "train"
# Rewards that tell transforms apart, whatever their unit.
_PROBES = 2.0 ** np.arange(-10, 11)


class FeedbackSource:
    """Validated trajectories of a `RecordSource`.

    A split is prepared at its first use, in files, and read by position; errors in
    records surface as `DataError` there.

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
        vocabulary: Vocabulary,
    ):
        self.recipe = Recipe(
            task, source, record_format, check_policy(on_bad_record), vocabulary
        )
        self._task = task
        self._transforms = transforms
        self._records: dict[str, StoredRecords] = {}
        self._rewards: dict[str, np.ndarray] = {}
        self._transform: Function | None = None
        self._lock = threading.RLock()

    @property
    def record_format(self) -> RecordFormat:
        """How records are read: field names, templates, reward kind."""
        return self.recipe.record_format

    @property
    def splits(self) -> Sequence[str]:
        """The names of its splits, known without reading data."""
        return self.recipe.source.splits

    def __str__(self) -> str:
        return self.recipe.source.description()

    def records(self, split: str) -> StoredRecords:
        """The split's valid records, prepared at the first use.

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

    def check_prepared(self, split: str, module: Any = None) -> None:
        """Refuses a split that is to be read, but not prepared: `use_cached`.

        Args:
          split: one of the source's.
          module: registers the task, for the message.

        Raises:
          ConfigError: it is not prepared; says what to type.
        """
        if split in self._records or is_prepared(self.recipe, split):
            return
        flags = "".join(f" --module={name}" for name in module_names(module))
        raise ConfigError(
            f"use_cached is set, but split '{split}' of task '{self._task}' is not "
            f"prepared: run `dro-jax tasks prepare {self._task} --split={split}{flags}`, "
            "or set use_cached = False, and the first run prepares it"
        )

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

    def on_training_scale(self, rewards: np.ndarray) -> np.ndarray:
        """``[N]`` float32: rewards of other responses, transformed as records' are.

        Args:
          rewards: ``[N]``, as recorded ones are read.

        Raises:
          DataError: the train split that a transform is fitted on cannot be used, or
            the transform gives a number that is not finite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            found = transformed(self._fitted(), np.asarray(rewards, np.float64))
        if (bad := np.flatnonzero(~np.isfinite(found))).size:
            raise DataError(
                f"task '{self._task}': reward_transform {self._transforms} turns the "
                f"reward {rewards[bad[0]]:g} of a sampled response into "
                f"{found[bad[0]]}: clip or normalise the rewards first"
            )
        return found

    def transform_digest(self) -> str:
        """What :meth:`on_training_scale` does, in words and a digest of its numbers."""
        probes = np.concatenate([-_PROBES, [0.0], _PROBES])
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.asarray(self._fitted()(probes), "<f8")
        return f"{self._transforms} {hashlib.sha256(found.tobytes()).hexdigest()[:16]}"

    def statistics(self, split: str = TRAIN) -> RewardStatistics:
        """Figures of the rewards before and after the transform."""
        records = self.records(split)
        return RewardStatistics(
            task=self._task,
            split=split,
            transform=str(self._transforms),
            recorded=Summary.of(records.rewards),
            transformed=Summary.of(self.rewards(split)),
            num_dropped=records.report.num_dropped,
        )

    def _transformed(self, split: str) -> np.ndarray:
        records = self.records(split)
        with np.errstate(over="ignore", invalid="ignore"):
            rewards = transformed(self._fitted(), records.rewards)
        for part in scratch.chunks(len(rewards)):
            bad = part.start + np.flatnonzero(~np.isfinite(rewards[part]))
            if bad.size:
                raise DataError(
                    f"{records.identity(bad[0])}: reward_transform {self._transforms} "
                    f"turns the reward {records.rewards[bad[0]]:g} into "
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
                    train = self.records(TRAIN).rewards
                else:
                    train = np.zeros(0)
                self._transform = self._transforms.fit(train)
            return self._transform


def fingerprint(name: str) -> int:
    """31 bits that stand for a task's name in record ids."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1
