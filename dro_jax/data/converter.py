"""From a task's features to the batch that models read."""

from collections.abc import Mapping

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

    TASK_FEATURES = {
        "inputs": _Spec(dtype=tf.int32),
        "targets": _Spec(dtype=tf.int32),
        "reward": _Spec(dtype=tf.float32),
        "record_id": _Spec(dtype=tf.int32),
        "truncated": _Spec(dtype=tf.int32),
    }
    MODEL_FEATURES = {
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

    def __init__(self, pack: bool = False, use_custom_packing_ops: bool = False, **kw):
        if pack or use_custom_packing_ops:
            raise ConfigError(
                "FeedbackFeatureConverter does not pack: seqio's packing would round "
                "rewards to integers. Set pack = False in the data set's configuration "
                "(DatasetConfig.pack, or utils.DatasetConfig.pack under T5X)"
            )
        super().__init__(pack=False, use_custom_packing_ops=False, **kw)

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
        return ds.map(
            lambda example: convert_example(
                example, task_feature_lengths, bos_id=self.bos_id
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def convert_example(
    example: Mapping[str, tf.Tensor], lengths: Mapping[str, int], bos_id: int = 0
) -> dict[str, tf.Tensor]:
    """One task example as one row of a batch (`FeedbackFeatureConverter`'s example).

    Args:
      example: the task features; token sequences no longer than `lengths`.
      lengths: of `inputs` and `targets`.
      bos_id: the decoder's first input.
    """
    targets = _pad(example["targets"], lengths["targets"])
    record_ids = tf.ensure_shape(example["record_id"], [2])[None, :]
    return {
        "encoder_input_tokens": _pad(example["inputs"], lengths["inputs"]),
        "decoder_input_tokens": tf.concat([[bos_id], targets[:-1]], axis=0),
        "decoder_target_tokens": targets,
        "decoder_loss_weights": tf.cast(targets != 0, tf.int32),
        "rewards": tf.ensure_shape(example["reward"], [1]),
        "trajectory_weights": tf.ones([1], tf.float32),
        "record_ids": record_ids,
        "truncated": tf.ensure_shape(example["truncated"], [1]),
    }


def complete_lengths(lengths: Mapping[str, int]) -> dict[str, int]:
    """Task lengths with those of the features whose length is fixed."""
    return {**FIXED_LENGTHS, **lengths}


def _pad(tokens: tf.Tensor, length: int) -> tf.Tensor:
    padded = tf.pad(tokens, [[0, length - tf.shape(tokens)[0]]])
    return tf.ensure_shape(padded, [length])
