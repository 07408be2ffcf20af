"""The documented batch, exactly; and what the converter asks for."""

import ast
import re

import numpy as np
import pytest
import seqio
import tensorflow as tf

from dro_jax.data.converter import FeedbackFeatureConverter
from dro_jax.errors import ConfigError


def _documented():
    text = FeedbackFeatureConverter.__doc__
    lengths = ast.literal_eval(re.search(r"task lengths `(\{.*?\})`", text)[1])
    example, row = re.findall(r"^\s*(\{'.*?\})$", text, flags=re.MULTILINE | re.DOTALL)
    return lengths, ast.literal_eval(example), ast.literal_eval(row)


def _dataset(example):
    dtypes = FeedbackFeatureConverter.TASK_FEATURES
    return tf.data.Dataset.from_tensors(
        {name: tf.constant(v, dtypes[name].dtype) for name, v in example.items()}
    )


def test_the_documented_example():
    lengths, example, row = _documented()
    (converted,) = FeedbackFeatureConverter()(_dataset(example), lengths)
    assert converted.keys() == row.keys()
    for name, values in row.items():
        np.testing.assert_array_equal(converted[name], values, err_msg=name)
        floats = name in ("rewards", "trajectory_weights")
        assert converted[name].dtype == (tf.float32 if floats else tf.int32)


def test_lengths_may_be_complete_as_seqios_evaluator_gives_them():
    lengths, example, _ = _documented()
    lengths |= {"reward": 1, "record_id": 2, "truncated": 1}
    (converted,) = FeedbackFeatureConverter()(_dataset(example), lengths)
    assert converted["record_ids"].numpy().tolist() == [[42, 17]]


def test_rewards_keep_every_bit():
    reward = np.float32(1) / np.float32(3)
    lengths, example, _ = _documented()
    (converted,) = FeedbackFeatureConverter()(
        _dataset({**example, "reward": [reward]}), lengths
    )
    assert converted["rewards"].numpy()[0].tobytes() == reward.tobytes()


def test_longer_tokens_than_declared_are_refused():
    lengths, example, _ = _documented()
    specs = {
        name: tf.TensorSpec([None], spec.dtype)
        for name, spec in FeedbackFeatureConverter.TASK_FEATURES.items()
    }
    examples = tf.data.Dataset.from_generator(lambda: [example], output_signature=specs)
    converted = FeedbackFeatureConverter()(examples, {**lengths, "targets": 2})
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="targets.* has length not less"
    ):
        list(converted)


@pytest.mark.parametrize(
    "arguments", [{"pack": True}, {"use_custom_packing_ops": True}]
)
def test_packing_is_refused(arguments):
    with pytest.raises(ConfigError, match="does not pack.*pack = False"):
        FeedbackFeatureConverter(**arguments)


def test_t5x_can_build_it_and_read_a_task(register, trajectories):
    task = register(trajectories(4))
    converter = FeedbackFeatureConverter(pack=False, use_custom_packing_ops=False)
    dataset = seqio.get_dataset(
        task.name, {"inputs": 6, "targets": 4}, converter, num_epochs=1
    )
    shapes = {name: spec.shape.as_list() for name, spec in dataset.element_spec.items()}
    assert shapes == {
        "encoder_input_tokens": [6],
        "decoder_input_tokens": [4],
        "decoder_target_tokens": [4],
        "decoder_loss_weights": [4],
        "rewards": [1],
        "trajectory_weights": [1],
        "record_ids": [1, 2],
        "truncated": [1],
    }
