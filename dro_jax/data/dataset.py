"""Batches of feedback: deterministic in the seed, resumable at any batch."""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from dro_jax.data.converter import FeedbackFeatureConverter, model_features
from dro_jax.data.feedback_source import fingerprint, joined, take
from dro_jax.data.ordering import Component, record_order
from dro_jax.data.preprocessing import encode_batch
from dro_jax.data.tasks import FeedbackTask, as_feedback_task, unknown_name
from dro_jax.data.vocabularies import check_vocabulary, describe_vocabulary
from dro_jax.errors import ConfigError, DataError

Batch = dict[str, np.ndarray]
_TOKEN_FEATURES = ("inputs", "targets")


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """A split of a task or mixture, in batches.

    The same configuration gives the same batches in the same order, whenever and from
    whichever batch on it is read. Each epoch has an order of its own.

    Attributes:
      mixture_or_task_name: a name registered by `register_feedback_task`, or a
        `seqio.MixtureRegistry` mixture of such tasks.
      task_feature_lengths: the most tokens of `inputs` and `targets`.
      split: the split's name.
      batch_size: rows of a batch, over all hosts.
      shuffle: permute the whole split in each epoch. False keeps the source's order.
      seed: decides the order and the draws of a mixture.
      num_epochs: None repeats for ever, a batch reaching over the end of an epoch where
        sizes do not divide, and a mixture drawing by its rates. A number goes through
        every record of every task that often, rates aside, and fills the last batch up
        with rows whose `trajectory_weights` are 0.
      pack: several trajectories a row; not supported yet.
      use_cached: seqio's offline cache; not supported, since records are in memory.
      module: modules to import first, which register the tasks: a name, several
        separated by commas, or a sequence.

    Raises:
      ConfigError: a setting cannot be used.
    """

    mixture_or_task_name: str
    task_feature_lengths: Mapping[str, int]
    split: str = "train"
    batch_size: int = 8
    shuffle: bool = True
    seed: int = 0
    num_epochs: int | None = None
    pack: bool = False
    use_cached: bool = False
    module: str | Sequence[str] | None = None

    def __post_init__(self):
        _check_lengths(self.task_feature_lengths)
        _check_positive("batch_size", self.batch_size)
        if self.num_epochs is not None:
            _check_positive("num_epochs", self.num_epochs)
        if self.use_cached:
            raise ConfigError(
                "DatasetConfig.use_cached has no effect on feedback tasks, whose "
                "records are held in memory: remove it"
            )
        FeedbackFeatureConverter(pack=self.pack)

    def __hash__(self) -> int:
        lengths = tuple(sorted(self.task_feature_lengths.items()))
        return hash((self.mixture_or_task_name, lengths, self.split, self.seed))

    def one_pass(self) -> "DatasetConfig":
        """The same records once each, in the order of their sources."""
        return dataclasses.replace(self, shuffle=False, num_epochs=1)

    def tasks(self) -> tuple[FeedbackTask, ...]:
        """The tasks behind the name, ordered by theirs, their modules imported.

        Raises:
          ConfigError: the name or a module is unknown, or a task has no feedback.
        """
        return tuple(task for task, _ in self._tasks_and_rates())

    @property
    def vocabulary(self) -> seqio.Vocabulary:
        """The vocabulary that the tasks share.

        Raises:
          DataError: its file is missing or it lacks a token that T5 needs.
        """
        vocabulary = self.tasks()[0].vocabulary
        check_vocabulary(vocabulary)
        return vocabulary

    def num_records(self) -> int:
        """Valid records of the split, over all tasks."""
        return sum(task.num_input_examples(self.split) for task, _ in self._shares())

    def facts(self) -> dict[str, dict]:
        """What a run should keep of its data, by task, as values that JSON holds.

        Returns:
          For each task `rewards` (figures of this split before and after the
          transform) and `records` (how many were read, which were dropped and why).
        """
        return {
            task.name: {
                "rewards": task.statistics(self.split).to_json(),
                "records": task.record_report(self.split).to_json(),
            }
            for task, _ in self._shares()
        }

    def identity(self, record_id: Sequence[int]) -> str:
        """A record of a batch in a person's words.

        Args:
          record_id: one pair of a batch's `record_ids`.

        Raises:
          DataError: no task of this data set has such a record.
        """
        for task in self.tasks():
            if fingerprint(task.name) == int(record_id[0]):
                return task.identity(record_id, self.split)
        raise DataError(
            f"record id {[int(part) for part in record_id]} belongs to no task of "
            f"'{self.mixture_or_task_name}'"
        )

    def identities(self, batch: Batch) -> list[str]:
        """`identity` of every trajectory present in a batch, row by row."""
        present = batch["trajectory_weights"] > 0
        return [self.identity(record_id) for record_id in batch["record_ids"][present]]

    def batches(self, start_batch: int = 0) -> Iterator[Batch]:
        """The batches from `start_batch` on, counted from 0.

        Returns:
          An iterator of dictionaries with B = batch_size rows, S = 1 trajectory each:
          `encoder_input_tokens` ``[B, L]``, `decoder_input_tokens`,
          `decoder_target_tokens`, `decoder_loss_weights` ``[B, T]`` (int32), `rewards`,
          `trajectory_weights` ``[B, S]`` (float32), `record_ids` ``[B, S, 2]``,
          `truncated` ``[B, S]`` (int32).

        Raises:
          ConfigError: the task is unknown or a setting cannot be used.
          DataError: a record, the split or the vocabulary cannot be used.
        """
        shares = self._shares()
        order = record_order(
            [
                Component(task.name, task.num_input_examples(self.split), rate)
                for task, rate in shares
            ],
            shuffle=self.shuffle,
            seed=self.seed,
            num_epochs=self.num_epochs,
            start=start_batch * self.batch_size,
        )
        batches = order.batch(self.batch_size).map(
            self._reader([task for task, _ in shares]),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        iterator = batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        # Not a generator: what can be wrong is found now, not at the first batch.
        return (fill_up(batch, self.batch_size) for batch in iterator)

    def _reader(self, tasks: Sequence[FeedbackTask]):
        vocabulary = tasks[0].vocabulary
        check_vocabulary(vocabulary)
        prompt_truncation, response_truncation = tasks[0].truncation
        tensors = joined([task.source.tensors(self.split) for task in tasks])

        @tf.autograph.experimental.do_not_convert
        def read(positions: tf.Tensor) -> dict[str, tf.Tensor]:
            features, _ = encode_batch(
                take(tensors, positions),
                vocabulary,
                self.task_feature_lengths,
                prompt_truncation=prompt_truncation,
                response_truncation=response_truncation,
            )
            return model_features(features)

        return read

    def _shares(self) -> list[tuple[FeedbackTask, float]]:
        """The tasks that have the split, with their mixing rates."""
        every = self._tasks_and_rates()
        having = [(task, rate) for task, rate in every if self.split in task.splits]
        if not having:
            known = sorted({split for task, _ in every for split in task.splits})
            raise DataError(
                f"'{self.mixture_or_task_name}' has no split '{self.split}': its splits "
                f"are {', '.join(known)}"
            )
        return having

    def _tasks_and_rates(self) -> list[tuple[FeedbackTask, float]]:
        import_modules(self.module)
        name = self.mixture_or_task_name
        if name in seqio.MixtureRegistry.names():
            mixture = seqio.MixtureRegistry.get(name)
            shares = [
                (as_feedback_task(task), float(mixture.get_rate(task)))
                for task in mixture.tasks
            ]
            _check_alike(name, [task for task, _ in shares])
            return shares
        if name in seqio.TaskRegistry.names():
            return [(as_feedback_task(seqio.TaskRegistry.get(name)), 1.0)]
        raise unknown_name(name, self.module)


def fill_up(batch: Batch, batch_size: int) -> Batch:
    """The batch with rows of zeros, `trajectory_weights` too, up to `batch_size`."""
    missing = batch_size - len(batch["rewards"])
    if not missing:
        return batch
    return {
        name: np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
        for name, rows in batch.items()
    }


def import_modules(modules: str | Sequence[str] | None) -> None:
    """Imports modules that register tasks.

    Args:
      modules: a name, several separated by commas, a sequence of names, or None.

    Raises:
      ConfigError: there is no such module.
    """
    names = modules.split(",") if isinstance(modules, str) else modules or ()
    for name in filter(None, map(str.strip, names)):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                raise
            raise ConfigError(
                f"the module '{name}', named in DatasetConfig.module, cannot be found: "
                "check its spelling, and that its folder is on PYTHONPATH"
            ) from error


def _check_alike(mixture: str, tasks: Sequence[FeedbackTask]) -> None:
    first = tasks[0]
    for task in tasks[1:]:
        if task.vocabulary != first.vocabulary:
            raise ConfigError(
                f"mixture '{mixture}': tasks '{first.name}' and '{task.name}' have "
                f"different vocabularies ({describe_vocabulary(first.vocabulary)} and "
                f"{describe_vocabulary(task.vocabulary)}): give them the same one"
            )
        if task.truncation != first.truncation:
            raise ConfigError(
                f"mixture '{mixture}': tasks '{first.name}' and '{task.name}' cut "
                f"prompts and responses on different sides ({first.truncation} and "
                f"{task.truncation}): register them with the same prompt_truncation and "
                "response_truncation"
            )


def _check_lengths(lengths: Mapping[str, int]) -> None:
    missing = [name for name in _TOKEN_FEATURES if name not in lengths]
    unknown = sorted(set(lengths) - set(_TOKEN_FEATURES))
    if missing or unknown:
        what = (
            f"lacks '{missing[0]}'"
            if missing
            else f"has an unknown entry '{unknown[0]}'"
        )
        raise ConfigError(
            f"DatasetConfig.task_feature_lengths = {dict(lengths)!r} {what}: give the "
            "most tokens of prompts and of responses, as {'inputs': 512, 'targets': 256}"
        )
    for name in _TOKEN_FEATURES:
        _check_positive(f"task_feature_lengths['{name}']", lengths[name])


def _check_positive(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"DatasetConfig.{name} = {value!r} must be a whole number of at least 1"
        )
