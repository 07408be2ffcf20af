"""What a data set's batches are made from: numbers in an order, and what reads them."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from dro_jax.data.batching import Read, ReadGroups
from dro_jax.data.draws import Draws, weighted_order
from dro_jax.data.feedback_source import joined, take
from dro_jax.data.grouping import end_to_end
from dro_jax.data.ordering import Component, record_order
from dro_jax.data.preprocessing import encode_batch
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.vocabularies import check_vocabulary


def record_stream(
    shares: Sequence[tuple[FeedbackTask, float]],
    split: str,
    lengths: Mapping[str, int],
    *,
    members: Sequence[np.ndarray] | None,
    draws: Draws | None,
    shuffle: bool,
    seed: int,
    num_epochs: int | None,
    start: int,
) -> tuple[tf.data.Dataset, Read | ReadGroups]:
    """Numbers of records, or of groups, in their order, and what reads them.

    Args:
      shares: tasks that have the split, with their mixing rates.
      split: its name.
      lengths: the most tokens of `inputs` and `targets`.
      members: the groups of each task, where records are grouped.
      draws: which records are drawn, where not all are alike.
      shuffle, seed, num_epochs, start: as in `record_order`.

    Raises:
      DataError: a record, the split or the vocabulary cannot be used.
    """
    tasks = [task for task, _ in shares]
    sizes = [task.num_input_examples(split) for task in tasks]
    read = _reader(tasks, split, lengths)
    if draws is not None and draws.with_replacement:
        return weighted_order(draws.weights, seed=seed, start=start), read
    if members is not None:
        read, sizes = _of_groups(read, members, sizes)
    elif draws is not None:
        read, sizes = _of_drawn(read, draws, sizes)
    order = record_order(
        [
            Component(task.name, size, rate)
            for (task, rate), size in zip(shares, sizes, strict=True)
            if size  # none of a task's records may be drawn
        ],
        shuffle=shuffle,
        seed=seed,
        num_epochs=num_epochs,
        start=start,
    )
    return order, read


def _reader(
    tasks: Sequence[FeedbackTask], split: str, lengths: Mapping[str, int]
) -> Read:
    """Reads and encodes records by their positions in the tasks laid end to end.

    Raises:
      DataError: a record, the split or the vocabulary cannot be used.
    """
    vocabulary = tasks[0].vocabulary
    check_vocabulary(vocabulary)
    prompt_truncation, response_truncation = tasks[0].truncation
    tensors = joined([task.source.tensors(split) for task in tasks])

    @tf.autograph.experimental.do_not_convert
    def read(positions: tf.Tensor) -> tuple[dict, dict]:
        return encode_batch(
            take(tensors, positions),
            vocabulary,
            lengths,
            prompt_truncation=prompt_truncation,
            response_truncation=response_truncation,
        )

    return read


def _of_drawn(read: Read, draws: Draws, sizes: list[int]) -> tuple[Read, list[int]]:
    """Reads the records that are drawn by their numbers among these.

    Args:
      read: reads records.
      draws: which are drawn.
      sizes: records of each task.

    Returns:
      The reader, and how many records of each task are drawn.
    """
    positions, counts = draws.positions(sizes)
    table = tf.constant(positions)
    return lambda numbers: read(tf.gather(table, numbers)), counts


def _of_groups(
    read: Read, members: Sequence[np.ndarray], sizes: list[int]
) -> tuple[ReadGroups, list[int]]:
    """Reads groups of records by their numbers.

    Args:
      read: reads records.
      members: ``[G, K]`` for each task: the positions of each group's records in it,
        then -1.
      sizes: records of each task.

    Returns:
      From numbers of groups to (features, lengths, members ``[M, K]`` in these); and how
      many groups each task has.
    """
    table = tf.constant(end_to_end(members, sizes))

    @tf.autograph.experimental.do_not_convert
    def read_groups(numbers: tf.Tensor) -> tuple[dict, dict, tf.Tensor]:
        positions = tf.gather(table, numbers)
        present = positions >= 0
        features, lengths = read(tf.boolean_mask(positions, present))
        counted = tf.cumsum(tf.reshape(tf.cast(present, tf.int32), [-1])) - 1
        places = tf.reshape(counted, tf.shape(present))
        places = tf.where(present, places, -tf.ones_like(places))
        return features, lengths, tf.ensure_shape(places, [None, table.shape[1]])

    return read_groups, list(map(len, members))
