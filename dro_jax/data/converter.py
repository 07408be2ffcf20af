"""From a task's features to the batch that models read."""

from collections.abc import Mapping
from typing import Any, ClassVar

import seqio
import tensorflow as tf

from dro_jax.batch_fields import FIELDS, names
from dro_jax.data.packing import MAX_TRAJECTORIES_PER_ROW, WINDOW
from dro_jax.data.settings import check_packing, make_packing
from dro_jax.data.stream_packing import packed_rows
from dro_jax.errors import ConfigError

_Spec = seqio.FeatureConverter.FeatureSpec
FIXED_LENGTHS = {"reward": 1, "record_id": 2, "truncated": 1}
_TOKEN_FEATURES = ("inputs", "targets")


class FeedbackFeatureConverter(seqio.FeatureConverter):
    """Encoder-decoder features with the reward of each trajectory.

    Example. With task lengths `{'inputs': 5, 'targets': 4}`, the task's example

        {'inputs': [7, 8, 1], 'targets': [3, 9, 1], 'reward': [0.5],
         'record_id': [42, 17], 'truncated': [0]}

    becomes

        {'encoder_input_tokens': [7, 8, 1, 0, 0],
         'decoder_input_tokens': [0, 3, 9, 1],
         'decoder_target_tokens': [3, 9, 1, 0],
         'decoder_loss_weights': [1, 1, 1, 0],
         'rewards': [0.5],
         'trajectory_weights': [1.0],
         'record_ids': [[42, 17]],
         'truncated': [0]}

    Task lengths need only `inputs` and `targets`; the rest have fixed lengths.

    With `pack = True`, rows hold several trajectories. With task lengths
    `{'inputs': 8, 'targets': 6}` and `max_trajectories_per_row = 3`, the examples

        {'inputs': [7, 8, 1], 'targets': [3, 9, 1], 'reward': [0.5],
         'record_id': [42, 17], 'truncated': [0]}

        {'inputs': [5, 6, 7, 8, 9, 4, 3, 1], 'targets': [2, 1], 'reward': [-2.0],
         'record_id': [42, 18], 'truncated': [1]}

        {'inputs': [4, 1], 'targets': [8, 1], 'reward': [1.5],
         'record_id': [42, 19], 'truncated': [0]}

    become the two rows

        {'encoder_input_tokens': [7, 8, 1, 4, 1, 0, 0, 0],
         'encoder_segment_ids': [1, 1, 1, 2, 2, 0, 0, 0],
         'encoder_positions': [0, 1, 2, 0, 1, 0, 0, 0],
         'decoder_input_tokens': [0, 3, 9, 0, 8, 0],
         'decoder_target_tokens': [3, 9, 1, 8, 1, 0],
         'decoder_loss_weights': [1, 1, 1, 1, 1, 0],
         'decoder_segment_ids': [1, 1, 1, 2, 2, 0],
         'decoder_positions': [0, 1, 2, 0, 1, 0],
         'rewards': [0.5, 1.5, 0.0],
         'trajectory_weights': [1.0, 1.0, 0.0],
         'record_ids': [[42, 17], [42, 19], [0, 0]],
         'truncated': [0, 0, 0]}

        {'encoder_input_tokens': [5, 6, 7, 8, 9, 4, 3, 1],
         'encoder_segment_ids': [1, 1, 1, 1, 1, 1, 1, 1],
         'encoder_positions': [0, 1, 2, 3, 4, 5, 6, 7],
         'decoder_input_tokens': [0, 2, 0, 0, 0, 0],
         'decoder_target_tokens': [2, 1, 0, 0, 0, 0],
         'decoder_loss_weights': [1, 1, 0, 0, 0, 0],
         'decoder_segment_ids': [1, 1, 0, 0, 0, 0],
         'decoder_positions': [0, 1, 0, 0, 0, 0],
         'rewards': [-2.0, 0.0, 0.0],
         'trajectory_weights': [1.0, 0.0, 0.0],
         'record_ids': [[42, 18], [0, 0], [0, 0]],
         'truncated': [1, 0, 0]}

    Each window of consecutive examples of the stream is packed by itself
    (`dro_jax.data.packing.plan_rows`).

    Args:
      pack: several trajectories a row.
      use_custom_packing_ops: must be False.
      max_trajectories_per_row: the most of a packed row, S; None, the class attribute
        `MAX_TRAJECTORIES_PER_ROW`.
      packing_window: examples packed among themselves; None, the class attribute
        `PACKING_WINDOW`.
      **kwargs: seqio's `apply_length_check`, `bos_id`, `passthrough_features`.

    Raises:
      ConfigError: a setting cannot be used.
    """

    MAX_TRAJECTORIES_PER_ROW: ClassVar[int] = MAX_TRAJECTORIES_PER_ROW
    PACKING_WINDOW: ClassVar[int] = WINDOW

    TASK_FEATURES: ClassVar[Mapping[str, _Spec]] = {
        "inputs": _Spec(dtype=tf.int32),
        "targets": _Spec(dtype=tf.int32),
        "reward": _Spec(dtype=tf.float32),
        "record_id": _Spec(dtype=tf.int32),
        "truncated": _Spec(dtype=tf.int32),
    }
    MODEL_FEATURES: ClassVar[Mapping[str, _Spec]] = {
        name: _Spec(tf.as_dtype(listed.dtype), rank=len(listed.shape) - 1)
        for name, listed in FIELDS.items()
        if listed.source == "split" and listed.axes[0] == "B"
    }
    PACKING_FEATURE_DTYPES: ClassVar[Mapping[str, tf.DType]] = {
        name: tf.as_dtype(FIELDS[name].dtype) for name in names(source="packing")
    }

    def __init__(
        self,
        pack: bool = False,
        use_custom_packing_ops: bool = False,
        max_trajectories_per_row: int | None = None,
        packing_window: int | None = None,
        **kwargs: Any,
    ):
        if use_custom_packing_ops:
            raise ConfigError(
                "FeedbackFeatureConverter does not use seqio's custom packing ops, which "
                "would round rewards to integers: set use_custom_packing_ops = False "
                "(pack = True packs without them)"
            )
        name = type(self).__name__
        check_packing(name, pack, max_trajectories_per_row, packing_window)
        super().__init__(pack=pack, use_custom_packing_ops=False, **kwargs)
        # To seqio this means only that features may have rank 2, as record_ids do; its
        # own packing, which casts to integers, is never called.
        self._use_custom_packing_ops = pack
        self._max_trajectories = (
            max_trajectories_per_row or self.MAX_TRAJECTORIES_PER_ROW
        )
        self._window = packing_window or self.PACKING_WINDOW

    def __call__(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        """The converted data set; lengths of `inputs` and `targets` suffice."""
        return super().__call__(ds, complete_lengths(task_feature_lengths))

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> dict[str, int]:
        """The length of each model feature's first axis."""
        sizes = {
            "L": task_feature_lengths["inputs"],
            "T": task_feature_lengths["targets"],
            "S": self._max_trajectories if self.pack else 1,
        }
        packed = self.PACKING_FEATURE_DTYPES if self.pack else ()
        return {
            name: sizes[FIELDS[name].axes[1]]
            for name in (*self.MODEL_FEATURES, *packed)
        }

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        @tf.autograph.experimental.do_not_convert
        def pad(example: Mapping[str, tf.Tensor]) -> tuple[dict, tf.Tensor]:
            padded = {
                name: _pad(example[name], length)
                for name, length in task_feature_lengths.items()
            }
            return padded, tf.stack([tf.shape(example[n])[0] for n in _TOKEN_FEATURES])

        if self.pack:
            packing = make_packing(
                task_feature_lengths, self._max_trajectories, self._window
            )
            examples = ds.map(pad, num_parallel_calls=tf.data.AUTOTUNE)
            lengths = self.get_model_feature_lengths(task_feature_lengths)
            return packed_rows(examples, packing, lengths, self.bos_id)
        return ds.map(
            lambda example: model_features(pad(example)[0], self.bos_id),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def model_features(
    features: Mapping[str, tf.Tensor], bos_id: int = 0
) -> dict[str, tf.Tensor]:
    """A batch, or one row of it, from padded task features.

    Args:
      features: `TASK_FEATURES` of `FeedbackFeatureConverter`, each padded to its length
        on the last axis; leading axes are free.
      bos_id: the decoder's first input.
    """
    targets = features["targets"]
    start = tf.fill(tf.shape(targets[..., :1]), bos_id)
    return {
        "encoder_input_tokens": features["inputs"],
        "decoder_input_tokens": tf.concat([start, targets[..., :-1]], axis=-1),
        "decoder_target_tokens": targets,
        "decoder_loss_weights": tf.cast(targets != 0, tf.int32),
        "rewards": features["reward"],
        "trajectory_weights": tf.ones_like(features["reward"]),
        "record_ids": features["record_id"][..., None, :],
        "truncated": features["truncated"],
    }


def complete_lengths(lengths: Mapping[str, int]) -> dict[str, int]:
    """Task lengths with those of the features whose length is fixed."""
    return {**FIXED_LENGTHS, **lengths}


def _pad(tokens: tf.Tensor, length: int) -> tf.Tensor:
    padded = tf.pad(tokens, [[0, length - tf.shape(tokens)[0]]])
    return tf.ensure_shape(padded, [length])
