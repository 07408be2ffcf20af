"""Feedback tasks as seqio's: importing this module tells seqio of all of them.

Programs that import seqio need not import it: see `dro_jax.import_hooks`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import seqio
import tensorflow as tf

from dro_jax.data import registry, task_metrics
from dro_jax.data.feedback_source import TRAIN, FeedbackSource, fingerprint
from dro_jax.data.preprocessing import encode_feedback
from dro_jax.data.seqio_vocabularies import as_seqio
from dro_jax.errors import ConfigError

# Records of small tasks are shuffled whole by seqio too, which caches their order.
_SHUFFLE_BUFFER_SIZE = 10_000
_SHAPES = {"inputs": [], "targets": [], "reward": [1], "record_id": [2]}
_SIDES = ("inputs", "targets")
_READ_AT_ONCE = 64


class _Feedback(Protocol):
    """A `FeedbackTask`."""

    name: str
    source: FeedbackSource
    truncation: tuple[str, str]
    metrics: Any
    reward_fn: Any
    vocabulary: Any
    seqio_task: Any


class SeqioFeedbackSource(seqio.DataSource):
    """The records of a feedback task, as seqio reads them.

    Errors in records surface as `DataError` before any TensorFlow pipeline starts. Each
    example has `inputs` and `targets` (texts), `reward` float32 ``[1]`` and `record_id`
    int32 ``[2]``: (the fingerprint of the task's name, the record's index in its split).
    That index does not depend on shuffling, sharding or dropped records.

    Args:
      task: the task's name.
      source: of its records.
    """

    def __init__(self, task: str, source: FeedbackSource):
        super().__init__(
            splits=(), caching_permitted=False, performs_internal_shuffling=True
        )
        self._task = task
        self._source = source

    @property
    def splits(self) -> Sequence[str]:
        return self._source.splits

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        return [split]

    def num_input_examples(self, split: str) -> int:
        return len(self._source.records(split))

    def __str__(self) -> str:
        return str(self._source)

    def get_dataset(
        self,
        split: str = TRAIN,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> tf.data.Dataset:
        """The split's examples; shuffling is a full permutation, new in each epoch."""
        shard = shard_info or seqio.ShardInfo(0, 1)
        first, step = shard.index, shard.num_shards
        count = len(range(first, len(self._source.records(split)), step))
        order = tf.data.Dataset.range(count)
        if shuffle and count:
            order = shuffled_range(count, seed)
        batches = order.map(lambda place: first + step * place).batch(_READ_AT_ONCE)
        return batches.map(self._reader(split)).unbatch()

    def _reader(self, split: str) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Examples from their positions, `feature: [B, ...]`."""
        records, rewards = self._source.records(split), self._source.rewards(split)
        task = fingerprint(self._task)

        def read(positions: np.ndarray) -> list[np.ndarray]:
            indices = records.indices[positions]
            return [
                *(_objects(records.encoded_texts(positions, side)) for side in _SIDES),
                rewards[positions][:, None],
                np.stack([np.full_like(indices, task), indices], 1).astype(np.int32),
            ]

        def examples(positions: tf.Tensor) -> dict[str, tf.Tensor]:
            types = [tf.string, tf.string, tf.float32, tf.int32]
            # Not stateful, so that iterators over it can be checkpointed.
            found = tf.numpy_function(read, [positions], types, stateful=False)
            return {
                name: tf.ensure_shape(values, [None, *shape])
                for (name, shape), values in zip(_SHAPES.items(), found, strict=True)
            }

        return examples


class SeqioFeedbackTask(seqio.Task):
    """seqio's task of a feedback task, which it has as `feedback`.

    What a `seqio.Task` does not have is the feedback task's: `records`, `statistics`, …
    """

    def __init__(self, name: str, *, feedback: _Feedback, **settings: Any):
        # Before all else, since attributes are looked up there.
        self.feedback = feedback
        super().__init__(name=name, **settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "feedback":
            raise AttributeError(name)
        return getattr(self.feedback, name)

    def get_dataset(
        self,
        sequence_length: Mapping[str, int] | None = None,
        split: str = TRAIN,
        use_cached: bool = False,
        *arguments: Any,
        **settings: Any,
    ) -> tf.data.Dataset:
        """As `seqio.Task.get_dataset`.

        With `use_cached` the split must have been prepared, which is this package's
        offline cache; without it the first use prepares it.

        Raises:
          ConfigError: it must be prepared and is not; says what to type.
          DataError: a record, the split or the vocabulary cannot be used.
        """
        if use_cached:
            self.feedback.source.check_prepared(split)
        return super().get_dataset(
            sequence_length, split, False, *arguments, **settings
        )


def make_seqio_task(task: _Feedback) -> SeqioFeedbackTask:
    """seqio's task of a feedback task, which keeps it: see `FeedbackTask.seqio_task`."""
    prompt_truncation, response_truncation = task.truncation
    return SeqioFeedbackTask(
        task.name,
        feedback=task,
        source=SeqioFeedbackSource(task.name, task.source),
        output_features=_features(as_seqio(task.vocabulary)),
        preprocessors=[
            functools.partial(
                encode_feedback,
                prompt_truncation=prompt_truncation,
                response_truncation=response_truncation,
            )
        ],
        shuffle_buffer_size=_SHUFFLE_BUFFER_SIZE,
        **_metrics(task),
    )


def _metrics(task: _Feedback) -> dict[str, Any]:
    given = task.metrics
    if given.are_default:
        from dro_jax.data.cut_metric import CutMetric

        return {
            "metric_fns": task_metrics.default_metrics(task.reward_fn, given.rewards),
            "metric_objs": [CutMetric()],
            "postprocess_fn": task_metrics.postprocess,
        }
    return {
        "metric_fns": list(given.metric_fns or ()),
        "metric_objs": list(given.metric_objs or ()),
        "postprocess_fn": given.postprocess_fn,
    }


def shuffled_range(count: int, seed: int | None) -> tf.data.Dataset:
    """The numbers below `count` in an order that is new in each epoch, not kept."""
    keys = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    def epoch(key: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(count).map(
            lambda place: tf.random.experimental.index_shuffle(place, key, count - 1)
        )

    return keys.batch(2, drop_remainder=True).take(1).flat_map(epoch)


def _objects(texts: list[bytes]) -> np.ndarray:
    # NumPy's own texts would lose zero bytes at their ends.
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def _features(vocabulary: seqio.Vocabulary) -> dict[str, seqio.Feature]:
    passed_on = functools.partial(
        seqio.Feature, seqio.PassThroughVocabulary(1), add_eos=False, rank=1
    )
    return {
        "inputs": seqio.Feature(vocabulary),
        "targets": seqio.Feature(vocabulary),
        "reward": passed_on(dtype=tf.float32),
        "record_id": passed_on(dtype=tf.int32),
        "truncated": passed_on(dtype=tf.int32),
    }


class _Registries:
    """seqio's."""

    def add_task(self, task: _Feedback) -> None:
        if task.name in seqio.TaskRegistry.names():
            raise ConfigError(f"seqio has another task that is called '{task.name}'")
        seqio.TaskRegistry.add_provider(task.name, task.seqio_task)

    def add_mixture(self, mixture: registry.Mixture) -> None:
        seqio.MixtureRegistry.add(
            mixture.name, [task.name for task in mixture.tasks], mixture.rate
        )


registry.connect(_Registries())
