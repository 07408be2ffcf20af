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
    plan = _plan(lengths["inputs"], lengths["targets"], packing)
    return _merge(batch, lengths, plan, plan, packing)


def pack_groups(
    batch: Mapping[str, tf.Tensor],
    lengths: Mapping[str, tf.Tensor],
    members: tf.Tensor,
    packing: Packing,
) -> dict[str, tf.Tensor]:
    """The groups of one window in rows: each prompt once, its responses side by side.

    Group g of a row is segment g + 1 of the encoder; its response k is trajectory
    s = gK + k, segment s + 1 of the decoder.

    Args:
      batch, lengths: as for :func:`pack_window`.
      members: int32 ``[M, K]``: the examples of each group, then -1.
      packing: the rows; its most trajectories are the most groups, G.

    Returns:
      As :func:`pack_window`, S = GK, and `group_weights` ``[R, G]``, 1 where there is
      a group.

    Raises:
      DataError: a group is longer than a row (inside tf.data, as its error).
    """
    inputs = tf.gather(lengths["inputs"], members[:, 0])
    targets = tf.reduce_sum(_by_trajectory(lengths["targets"], members), axis=1)
    groups = _plan(inputs, targets, packing)
    size = members.shape[1]
    prompts = _places(members[:, 0], groups)
    responses = tf.reshape(
        _places(members, groups), [-1, packing.max_trajectories * size]
    )
    rows = _merge(batch, lengths, prompts, responses, packing)
    return {**rows, "group_weights": tf.cast(groups != EMPTY, tf.float32)}


def _plan(inputs: tf.Tensor, targets: tf.Tensor, packing: Packing) -> tf.Tensor:
    plan = tf.numpy_function(
        functools.partial(plan_rows, packing=packing),
        [tf.stack([inputs, targets], axis=1)],
        tf.int32,
        stateful=False,  # so that iterators over it can be checkpointed
    )
    return tf.ensure_shape(plan, [None, packing.max_trajectories])


def _merge(
    batch: Mapping[str, tf.Tensor],
    lengths: Mapping[str, tf.Tensor],
    prompts: tf.Tensor,
    responses: tf.Tensor,
    packing: Packing,
) -> dict[str, tf.Tensor]:
    """The rows of two plans, of which example's prompt and response comes where."""
    sides = (
        ("encoder", _ENCODER, lengths["inputs"], prompts, packing.inputs),
        ("decoder", _DECODER, lengths["targets"], responses, packing.targets),
    )
    rows = {
        name: _by_trajectory(batch[name][:, 0], responses) for name in _PER_TRAJECTORY
    }
    for side, names, counts, plan, width in sides:
        tokens = {name: batch[name] for name in names}
        rows |= _end_to_end(side, tokens, counts, plan, width)
    return rows


def _places(examples: tf.Tensor, plan: tf.Tensor) -> tf.Tensor:
    """``[R, S, …]`` the examples at each place, -1 in empty ones."""
    with_empty = tf.concat([examples, tf.fill(tf.shape(examples[:1]), EMPTY)], axis=0)
    return tf.gather(with_empty, tf.where(plan == EMPTY, tf.shape(examples)[0], plan))


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
