"""Rows that several trajectories share, from rows of one trajectory each."""

import functools
from collections.abc import Mapping

import tensorflow as tf

from dro_jax.data.packing import EMPTY, Packing, plan_rows

_PER_TRAJECTORY = ("rewards", "trajectory_weights", "record_ids", "truncated")
_ENCODER = ("encoder_input_tokens",)
_DECODER = ("decoder_input_tokens", "decoder_target_tokens", "decoder_loss_weights")


def pack_window(
    batch: Mapping[str, tf.Tensor], lengths: Mapping[str, tf.Tensor], packing: Packing
) -> dict[str, tf.Tensor]:
    """The examples of one window in as few rows as `plan_rows` finds.

    Trajectory s of a row is its segment s + 1; segments lie end to end, padding last,
    and positions begin at 0 in each. Numbers are moved, never computed with.

    Args:
      batch: N rows of one trajectory each, as `model_features` makes them.
      lengths: int32 ``[N]`` tokens of `inputs` and of `targets`.
      packing: the rows.

    Returns:
      R rows: the fields of `batch`, those of trajectories ``[R, S]`` with zeros in
      empty places, and `encoder_segment_ids`, `encoder_positions` ``[R, L]``,
      `decoder_segment_ids`, `decoder_positions` ``[R, T]`` (int32).

    Raises:
      DataError: an example is longer than a row (inside tf.data, as its error).
    """
    plan = tf.numpy_function(
        functools.partial(plan_rows, packing=packing),
        [tf.stack([lengths["inputs"], lengths["targets"]], axis=1)],
        tf.int32,
        stateful=False,  # so that iterators over it can be checkpointed
    )
    plan = tf.ensure_shape(plan, [None, packing.max_trajectories])
    sides = (
        ("encoder", _ENCODER, lengths["inputs"], packing.inputs),
        ("decoder", _DECODER, lengths["targets"], packing.targets),
    )
    rows = {name: _by_trajectory(batch[name][:, 0], plan) for name in _PER_TRAJECTORY}
    for side, names, counts, width in sides:
        tokens = {name: batch[name] for name in names}
        rows |= _end_to_end(side, tokens, counts, plan, width)
    return rows


def _by_trajectory(values: tf.Tensor, plan: tf.Tensor) -> tf.Tensor:
    """``[R, S, …]`` from ``[N, …]``, 0 in empty places."""
    with_zeros = tf.concat([values, tf.zeros_like(values[:1])], axis=0)
    return tf.gather(with_zeros, tf.where(plan == EMPTY, tf.shape(values)[0], plan))


def _end_to_end(
    side: str,
    tokens: Mapping[str, tf.Tensor],
    counts: tf.Tensor,
    plan: tf.Tensor,
    width: int,
) -> dict[str, tf.Tensor]:
    """Fields ``[R, width]`` of one side from ``[N, width]``, with ids and positions."""
    used = tf.where(plan != EMPTY)
    examples = tf.gather_nd(plan, used)
    example_counts = tf.gather(counts, examples)
    row_counts = tf.reduce_sum(_by_trajectory(counts, plan), axis=1)

    def rows(values: tf.Tensor) -> tf.Tensor:
        ragged = tf.RaggedTensor.from_row_lengths(values, row_counts, validate=False)
        return ragged.to_tensor(shape=[None, width])

    positions = tf.ragged.range(example_counts).flat_values
    places = tf.stack([tf.repeat(examples, example_counts), positions], axis=1)
    merged = {
        name: rows(tf.gather_nd(values, places)) for name, values in tokens.items()
    }
    segments = tf.repeat(tf.cast(used[:, 1], tf.int32) + 1, example_counts)
    return {
        **merged,
        f"{side}_segment_ids": rows(segments),
        f"{side}_positions": rows(positions),
    }
