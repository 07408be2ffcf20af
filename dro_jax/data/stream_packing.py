"""Packed rows of a tf.data stream, merged by the code that merges those of records."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from dro_jax.batch_fields import FIELDS
from dro_jax.data.packing import EMPTY, Packing, plan_rows
from dro_jax.data.row_merging import merged_rows
from dro_jax.data.truncation import Tokens

_FEATURES = ("inputs", "targets", "reward", "record_id", "truncated")


def packed_rows(
    examples: tf.data.Dataset,
    packing: Packing,
    lengths: Mapping[str, int],
    bos_id: int,
) -> tf.data.Dataset:
    """The rows of each window of consecutive examples.

    Args:
      examples: padded task features, and ``[2]`` the tokens of `inputs` and `targets`.
      packing: the rows.
      lengths: the length of each model feature's first axis.
      bos_id: the decoder's first input.
    """
    dtypes = {name: tf.as_dtype(FIELDS[name].dtype) for name in sorted(lengths)}

    def merge(*arrays: np.ndarray) -> list[np.ndarray]:
        rows = _merged(*arrays, packing=packing, bos_id=bos_id)
        return [rows[name] for name in dtypes]

    @tf.autograph.experimental.do_not_convert
    def pack(features: Mapping[str, tf.Tensor], counts: tf.Tensor) -> dict:
        merged = tf.numpy_function(
            merge,
            [*(features[name] for name in _FEATURES), counts],
            list(dtypes.values()),
            stateful=False,  # so that iterators over it can be checkpointed
        )
        return {
            name: tf.ensure_shape(rows, [None, lengths[name], *FIELDS[name].shape[2:]])
            for name, rows in zip(dtypes, merged, strict=True)
        }

    windows = examples.batch(packing.window)
    return windows.map(pack, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


def _merged(
    inputs: np.ndarray,
    targets: np.ndarray,
    reward: np.ndarray,
    record_id: np.ndarray,
    truncated: np.ndarray,
    counts: np.ndarray,
    *,
    packing: Packing,
    bos_id: int,
) -> dict[str, np.ndarray]:
    plan = plan_rows(counts, packing)
    places = plan != EMPTY
    order = plan[places]
    prompts, responses = (
        Tokens(padded[order][np.arange(padded.shape[1]) < lengths[:, None]], lengths)
        for padded, lengths in zip((inputs, targets), counts[order].T, strict=True)
    )
    fields = {
        "rewards": reward[order, 0],
        "trajectory_weights": np.ones(len(order), np.float32),
        "record_ids": record_id[order],
        "truncated": truncated[order, 0],
    }
    widths = packing.inputs, packing.targets
    return merged_rows(
        prompts, responses, fields, places, places, widths, bos_id=bos_id
    )
