"""From a task's features to the batch that models read."""

from collections.abc import Mapping
from typing import Any, ClassVar

import seqio
import tensorflow as tf

from dro_jax.errors import ConfigError

_Spec = seqio.FeatureConverter.FeatureSpec
FIXED_LENGTHS = {"reward": 1, "record_id": 2, "truncated": 1}


class FeedbackFeatureConverter(seqio.FeatureConverter):
    """Encoder-decoder features with the reward of each trajectory; one a row.

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
    """

    TASK_FEATURES: ClassVar[Mapping[str, _Spec]] = {
        "inputs": _Spec(dtype=tf.int32),
        "targets": _Spec(dtype=tf.int32),
        "reward": _Spec(dtype=tf.float32),
        "record_id": _Spec(dtype=tf.int32),
        "truncated": _Spec(dtype=tf.int32),
    }
    MODEL_FEATURES: ClassVar[Mapping[str, _Spec]] = {
        "encoder_input_tokens": _Spec(dtype=tf.int32),
        "decoder_input_tokens": _Spec(dtype=tf.int32),
        "decoder_target_tokens": _Spec(dtype=tf.int32),
        "decoder_loss_weights": _Spec(dtype=tf.int32),
        "rewards": _Spec(dtype=tf.float32),
        "trajectory_weights": _Spec(dtype=tf.float32),
        "record_ids": _Spec(dtype=tf.int32, rank=2),
        "truncated": _Spec(dtype=tf.int32),
    }
    PACKING_FEATURE_DTYPES = None

    def __init__(
        self, pack: bool = False, use_custom_packing_ops: bool = False, **kwargs: Any
    ):
        if pack or use_custom_packing_ops:
            raise ConfigError(
                "FeedbackFeatureConverter does not pack: seqio's packing would round "
                "rewards to integers. Set pack = False in the data set's configuration "
                "(DatasetConfig.pack, or utils.DatasetConfig.pack under T5X)"
            )
        super().__init__(pack=False, use_custom_packing_ops=False, **kwargs)

    def __call__(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        """The converted data set; lengths of `inputs` and `targets` suffice."""
        return super().__call__(ds, complete_lengths(task_feature_lengths))

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> dict[str, int]:
        """The length of each model feature's first axis."""
        decoder = task_feature_lengths["targets"]
        return {
            "encoder_input_tokens": task_feature_lengths["inputs"],
            "decoder_input_tokens": decoder,
            "decoder_target_tokens": decoder,
            "decoder_loss_weights": decoder,
            "rewards": 1,
            "trajectory_weights": 1,
            "record_ids": 1,
            "truncated": 1,
        }

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        @tf.autograph.experimental.do_not_convert
        def convert(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            padded = {
                name: _pad(example[name], length)
                for name, length in task_feature_lengths.items()
            }
            return model_features(padded, self.bos_id)

        return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)


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
