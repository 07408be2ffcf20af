"""What a data set's batches are made from: numbers in an order, and what reads them."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from dro_jax.data.batching import Read, ReadGroups
from dro_jax.data.draws import Draws
from dro_jax.data.feedback_source import joined, take
from dro_jax.data.grouping import end_to_end
from dro_jax.data.preprocessing import encode_batch
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.vocabularies import check_vocabulary


def reader(
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


def of_drawn(read: Read, draws: Draws, sizes: list[int]) -> tuple[Read, list[int]]:
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


def of_groups(
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
