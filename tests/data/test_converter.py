"""The documented batch, exactly; and what the converter asks for."""

import ast
import re

import numpy as np
import pytest
import seqio
import tensorflow as tf

from dro_jax.data.converter import FeedbackFeatureConverter
from dro_jax.errors import ConfigError


def _values(pattern):
    text = FeedbackFeatureConverter.__doc__
    found = re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL)
    return [ast.literal_eval(value) for value in found]


_LENGTHS, _PACKED_LENGTHS = _values(r"task lengths\s+`(\{.*?\})`")
_EXAMPLE, _ROW, *_PACKED_EXAMPLES_AND_ROWS = _values(r"^\s*(\{'.*?\})$")


def _documented():
    return dict(_LENGTHS), dict(_EXAMPLE), dict(_ROW)


def _dataset(*examples):
    specs = {
        name: tf.TensorSpec([None], spec.dtype)
        for name, spec in FeedbackFeatureConverter.TASK_FEATURES.items()
    }
    return tf.data.Dataset.from_generator(lambda: examples, output_signature=specs)


def _assert_rows(converted, rows):
    for actual, expected in zip(converted, rows, strict=True):
        assert actual.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(actual[name], values, err_msg=name)
            floats = name in ("rewards", "trajectory_weights")
            assert actual[name].dtype == (tf.float32 if floats else tf.int32)


def test_the_documented_example():
    lengths, example, row = _documented()
    _assert_rows(FeedbackFeatureConverter()(_dataset(example), lengths), [row])


def test_the_documented_packed_example():
    examples, rows = _PACKED_EXAMPLES_AND_ROWS[:3], _PACKED_EXAMPLES_AND_ROWS[3:]
    converter = FeedbackFeatureConverter(pack=True, max_trajectories_per_row=3)
    _assert_rows(converter(_dataset(*examples), _PACKED_LENGTHS), rows)


def test_lengths_may_be_complete_as_seqios_evaluator_gives_them():
    lengths, example, _ = _documented()
    lengths |= {"reward": 1, "record_id": 2, "truncated": 1}
    (converted,) = FeedbackFeatureConverter()(_dataset(example), lengths)
    assert converted["record_ids"].numpy().tolist() == [[42, 17]]


@pytest.mark.parametrize("pack", [False, True])
def test_rewards_keep_every_bit(pack):
    # A third, the smallest number, negative zero: none survives a cast to integers.
    rewards = np.array([1 / 3, 1e-45, -0.0], np.float32)
    lengths, example, _ = _documented()
    examples = [{**example, "reward": [reward]} for reward in rewards]
    rows = FeedbackFeatureConverter(pack=pack)(_dataset(*examples), lengths)
    kept = [row["rewards"][row["trajectory_weights"] > 0].numpy() for row in rows]
    assert np.concatenate(kept).tobytes() == rewards.tobytes()


@pytest.mark.parametrize("pack", [False, True])
def test_longer_tokens_than_declared_are_refused(pack):
    lengths, example, _ = _documented()
    converter = FeedbackFeatureConverter(pack=pack)
    converted = converter(_dataset(example), {**lengths, "targets": 2})
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="targets.* has length not less"
    ):
        list(converted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"use_custom_packing_ops": True},
            "would round.*use_custom_packing_ops = False",
        ),
        ({"packing_window": 9}, r"Converter\.packing_window = 9 has no effect"),
        ({"pack": True, "packing_window": 0}, "packing_window = 0 must be"),
        ({"pack": True, "max_trajectories_per_row": 2.5}, "row = 2.5 must be"),
    ],
)
def test_settings_that_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
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


class _FewerConverter(FeedbackFeatureConverter):
    MAX_TRAJECTORIES_PER_ROW = 2
    PACKING_WINDOW = 4


def _packed_stream(task, **settings):
    # As under T5X, which is told the class alone and shuffles.
    converter = _FewerConverter(pack=True, use_custom_packing_ops=False)
    return seqio.get_dataset(
        task.name, {"inputs": 6, "targets": 6}, converter, shuffle=True, **settings
    )


def test_packed_rows_of_a_stream_without_end(register, trajectories):
    dataset = _packed_stream(register(trajectories(10)), num_epochs=None, seed=1)
    shapes = {name: spec.shape.as_list() for name, spec in dataset.element_spec.items()}
    assert shapes == {
        **{f"encoder_{x}": [6] for x in ("input_tokens", "segment_ids", "positions")},
        **{f"decoder_{x}": [6] for x in ("input_tokens", "segment_ids", "positions")},
        **{f"decoder_{x}": [6] for x in ("target_tokens", "loss_weights")},
        **{name: [2] for name in ("rewards", "trajectory_weights", "truncated")},
        "record_ids": [2, 2],
    }
    # Each trajectory is 3 and 3 tokens, so every window of 4 makes 2 full rows.
    for row in dataset.take(20).as_numpy_iterator():
        assert row["trajectory_weights"].tolist() == [1, 1]
        assert row["encoder_segment_ids"].tolist() == [1, 1, 1, 2, 2, 2]


def test_packed_rows_of_a_stream_lose_and_repeat_nothing(register, trajectories):
    dataset = _packed_stream(register(trajectories(10)), num_epochs=3)
    rows = list(dataset.as_numpy_iterator())
    assert len(rows) == 15
    indices = np.concatenate([row["record_ids"][:, 1] for row in rows])
    assert np.bincount(indices).tolist() == [3] * 10


def test_packing_is_visible_to_seqio():
    # seqio.Evaluator refuses converters that pack.
    assert FeedbackFeatureConverter(pack=True).pack
    assert not FeedbackFeatureConverter().pack


def test_iterators_over_packed_rows_can_be_checkpointed(tmp_path):
    lengths, example, _ = _documented()
    specs = FeedbackFeatureConverter.TASK_FEATURES
    examples = tf.data.Dataset.range(40).map(
        lambda number: {
            **{name: tf.constant(x, specs[name].dtype) for name, x in example.items()},
            "inputs": tf.fill([1 + number % 5], tf.cast(number, tf.int32) + 1),
        }
    )
    dataset = FeedbackFeatureConverter(pack=True, packing_window=8)(examples, lengths)

    def rest(iterator):
        return [row["encoder_input_tokens"].numpy().tolist() for row in iterator]

    iterator = iter(dataset)
    for _ in range(7):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(tmp_path / "position")
    following = rest(iterator)
    restored = iter(dataset)
    tf.train.Checkpoint(iterator=restored).restore(path).assert_consumed()
    assert rest(restored) == following == rest(dataset)[7:]
    assert len(following) > 16
