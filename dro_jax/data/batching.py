"""From an order of records to batches of rows, each with the position after it."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from dro_jax.data.converter import model_features
from dro_jax.data.interface import HostBatch, Position
from dro_jax.data.packing import Packing
from dro_jax.data.row_merging import pack_groups, pack_window
from dro_jax.errors import ConfigError

NEXT_POSITION = "next_position"
# Positions of records to (features, lengths), as `encode_batch` gives them.
Read = Callable[[tf.Tensor], tuple[Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]]]
# Numbers of groups to the same of their records, and which record is in which group.
ReadGroups = Callable[
    [tf.Tensor], tuple[Mapping[str, tf.Tensor], Mapping[str, tf.Tensor], tf.Tensor]
]


def batches_of_records(
    order: tf.data.Dataset,
    read: Read | ReadGroups,
    batch_size: int,
    first: int,
    row_of_group: Packing,
) -> tf.data.Dataset:
    """A row a record, or a group.

    Args:
      order: positions of records, or numbers of groups, from number `first` on.
      read: reads and encodes them.
      batch_size: rows of a batch.
      first: how many came before.
      row_of_group: a row of one group, where there are groups.
    """

    @tf.autograph.experimental.do_not_convert
    def rows(consumed: tf.Tensor, positions: tf.Tensor) -> dict[str, tf.Tensor]:
        features, lengths, *members = read(positions)
        made = model_features(features)
        if members:
            made = pack_groups(made, lengths, *members, row_of_group)
        following = tf.stack([consumed, tf.zeros_like(consumed)], axis=1)
        return {**made, NEXT_POSITION: following}

    numbered = order.enumerate(first + 1).batch(batch_size)
    return numbered.map(rows, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def batches_of_packed_rows(
    order: tf.data.Dataset,
    read: Read | ReadGroups,
    batch_size: int,
    start: Position,
    packing: Packing,
) -> tf.data.Dataset:
    """Rows of each window of consecutive records, in the order of their first records.

    Args:
      order: positions of records, or numbers of groups, from number `start[0]` on.
      read: reads and encodes them.
      batch_size: rows of a batch.
      start: the first record of a window, and how many of its rows to leave out.
      packing: the rows and the window.

    Raises:
      ConfigError: no window begins at that record.
    """
    window, incomplete = divmod(start[0], packing.window)
    if incomplete:
        raise ConfigError(
            f"the data position {tuple(start)} is not the start of a window of "
            f"{packing.window} records: it was saved with another packing_window, or "
            "without packing. Restore that setting"
        )

    @tf.autograph.experimental.do_not_convert
    def rows(number: tf.Tensor, positions: tf.Tensor) -> dict[str, tf.Tensor]:
        features, lengths, *members = read(positions)
        pack = pack_groups if members else pack_window
        packed = pack(model_features(features), lengths, *members, packing)
        following = _positions_after(
            number, tf.shape(packed["rewards"], tf.int64)[0], packing.window
        )
        return {**packed, NEXT_POSITION: following}

    windows = order.batch(packing.window).enumerate(window)
    every_row = windows.map(
        rows, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    ).unbatch()
    return every_row.skip(start[1]).batch(batch_size)


def finished(batches: tf.data.Dataset, batch_size: int) -> Iterator[HostBatch]:
    """The batches in NumPy, each with one position and `batch_size` rows."""
    for batch in batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        following = batch.pop(NEXT_POSITION)[-1]
        yield {**fill_up(batch, batch_size), NEXT_POSITION: following}


def fill_up(batch: HostBatch, batch_size: int) -> HostBatch:
    """The batch with rows of zeros, `trajectory_weights` too, up to `batch_size`."""
    missing = batch_size - len(batch["rewards"])
    if not missing:
        return batch
    return {
        name: rows
        if name == NEXT_POSITION
        else np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
        for name, rows in batch.items()
    }


def _positions_after(number: tf.Tensor, num_rows: tf.Tensor, window: int) -> tf.Tensor:
    """``[R, 2]``: where to go on behind each row of window `number`."""
    rows_used = tf.range(1, num_rows + 1, dtype=tf.int64)
    is_last = rows_used == num_rows
    record = tf.where(is_last, (number + 1) * window, number * window)
    return tf.stack([record, tf.where(is_last, tf.zeros_like(rows_used), rows_used)], 1)
