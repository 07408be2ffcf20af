"""Registered tasks as seqio sees them: features, mixtures, evaluation, sharding."""

import numpy as np
import pytest
import seqio
import tensorflow as tf
from split_texts import responses_of

from dro_jax.data.converter import FeedbackFeatureConverter
from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.mixtures import task_for_inputs
from dro_jax.data.tasks import feedback_task, register_feedback_task
from dro_jax.data.text_vocabularies import ByteVocabulary
from dro_jax.errors import ConfigError, DataError

LENGTHS = {"inputs": 6, "targets": 6}


def test_a_task_is_found_with_what_it_was_given(register, trajectories):
    def true_reward(prompt, response):
        return float(len(response))

    task = register(
        trajectories(3), reward_fn=true_reward, reward_transform="normalize"
    )
    found = feedback_task(task.name)
    assert found is task is seqio.TaskRegistry.get(task.name).feedback
    assert found.reward_fn("p", "four") == 4.0
    assert found.statistics().recorded.count == 3
    assert isinstance(found.vocabulary, ByteVocabulary)
    assert found.splits == ("train",)


def test_output_features(register):
    features = register([]).output_features
    assert {n: (f.dtype, f.rank, f.add_eos) for n, f in features.items()} == {
        "inputs": (tf.int32, 1, True),
        "targets": (tf.int32, 1, True),
        "reward": (tf.float32, 1, False),
        "record_id": (tf.int32, 1, False),
        "truncated": (tf.int32, 1, False),
    }


def test_a_name_is_taken_once(register, mixture, trajectories):
    task = register(trajectories(1), name="made_twice")
    with pytest.raises(ConfigError, match="'made_twice' is registered already"):
        register(trajectories(1), name="made_twice")
    mixture("made_mixture", [(task.name, 1.0)])
    with pytest.raises(ConfigError, match="'made_mixture' is registered already"):
        register(trajectories(1), name="made_mixture")


def test_a_name_that_seqio_refuses():
    with pytest.raises(ConfigError, match="task 'made task' cannot be registered"):
        register_feedback_task(
            "made task",
            seqio.FunctionDataSource(lambda split, shuffle_files: None, []),
            vocabulary="byte",
        )


def test_unknown_and_other_tasks(register):
    register([], name="made_known")
    with pytest.raises(ConfigError, match=r"'made_knwon'.*Near names: made_known"):
        feedback_task("made_knwon")
    seqio.TaskRegistry.add(
        "made_plain",
        source=seqio.FunctionDataSource(lambda split, shuffle_files: None, ["train"]),
        output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
    )
    try:
        with pytest.raises(ConfigError, match="'made_plain' is a seqio task without"):
            feedback_task("made_plain")
    finally:
        seqio.TaskRegistry.remove("made_plain")


def test_any_seqio_source_makes_a_task(trajectories):
    rows = trajectories(3)
    columns = {name: [row[name] for row in rows] for name in rows[0]}

    def dataset_fn(split, shuffle_files):
        return tf.data.Dataset.from_tensor_slices(columns)

    source = seqio.FunctionDataSource(dataset_fn, splits=["train"])
    task = register_feedback_task("made_from_seqio", source, vocabulary="byte")
    try:
        assert task.identity(2) == "made_from_seqio[train] record 2"
        assert responses_of(task.records("train")) == ["r0", "r1", "r2"]
    finally:
        seqio.TaskRegistry.remove("made_from_seqio")


def test_identity_from_a_batchs_pair(register, trajectories):
    task = register(trajectories(3))
    pair = np.array([fingerprint(task.name), 2], np.int32)
    assert task.identity(pair) == task.identity(2)
    with pytest.raises(DataError, match="belongs to another task"):
        task.identity([1, 2])


def test_bad_records_surface_as_data_errors_through_seqio(register):
    task = register([{"prompt": "p", "response": "r", "reward": None}])
    with pytest.raises(DataError, match="line 1: the reward is missing"):
        task.get_dataset(LENGTHS)
    with pytest.raises(DataError, match="'test' does not exist"):
        task.get_dataset(LENGTHS, split="test")


def test_templates_make_the_texts(register):
    rows = [{"prompt": "q", "response": "a", "reward": 1, "topic": "t"}]
    task = register(
        rows, prompt_template="{topic}? {prompt}", response_template="<{response}>"
    )
    (example,) = task.get_dataset(None, shuffle=False).as_numpy_iterator()
    vocabulary = seqio.ByteVocabulary()
    assert vocabulary.decode(example["inputs"].tolist()) == "t? q"
    assert example["targets_pretokenized"] == b"<a>"


@pytest.mark.parametrize("shuffle", [False, True])
def test_shards_keep_record_indices_and_share_out_all_records(
    register, trajectories, shuffle
):
    task = register(trajectories(7))
    shards = [
        [
            int(example["record_id"][1])
            for example in task.get_dataset(
                LENGTHS, shuffle=shuffle, seed=1, shard_info=seqio.ShardInfo(i, 3)
            ).as_numpy_iterator()
        ]
        for i in range(3)
    ]
    assert [sorted(shard) for shard in shards] == [[0, 3, 6], [1, 4], [2, 5]]


def test_shuffling_through_seqio_is_whole_and_seeded(register, trajectories):
    task = register(trajectories(50))

    def order(seed):
        dataset = task.get_dataset(LENGTHS, seed=seed, num_epochs=2)
        return [int(e["record_id"][1]) for e in dataset.as_numpy_iterator()]

    first = order(0)
    assert sorted(first) == sorted(2 * list(range(50)))
    assert first == order(0)
    assert first != order(1)


def test_in_a_seqio_mixture(register, trajectories, mixture):
    one, two = register(trajectories(20)), register(trajectories(20, start=20))
    mixture("made_mixture", [(one.name, 1.0), (two.name, 1.0)])
    dataset = seqio.get_dataset(
        "made_mixture",
        LENGTHS,
        FeedbackFeatureConverter(),
        shuffle=True,
        seed=0,
        num_epochs=None,
    )
    rewards = {}
    for row in dataset.take(200).as_numpy_iterator():
        rewards.setdefault(int(row["record_ids"][0, 0]), set()).add(
            float(row["rewards"][0])
        )
    assert rewards == {
        fingerprint(one.name): {i / 8 for i in range(20)},
        fingerprint(two.name): {i / 8 for i in range(20, 40)},
    }


@pytest.mark.parametrize("lengths", [LENGTHS, None], ids=["given", "measured"])
def test_seqios_evaluator_reads_it(register, trajectories, lengths):
    def share_right(targets, predictions):
        return {
            "right": np.mean(
                [t == p for t, p in zip(targets, predictions, strict=True)]
            )
        }

    task = register({"validation": trajectories(5)}, metric_fns=[share_right])
    evaluator = seqio.Evaluator(
        task.name, FeedbackFeatureConverter(), sequence_length=lengths
    )

    def predict(dataset):
        # Right for the even ones, empty for the odd ones.
        return [
            (int(i), row["decoder_target_tokens"] * (1 - i % 2))
            for i, row in dataset.as_numpy_iterator()
        ]

    metrics, _ = evaluator.evaluate(compute_metrics=True, predict_fn=predict)
    assert metrics.result()[task.name]["right"] == pytest.approx(3 / 5)
    evaluator.close()


def test_a_mixture_reads_inputs_as_its_tasks_do(register, trajectories, mixture):
    """Models trained on a mixture answer prompts: no task had to be named for it."""
    records = trajectories(2)
    one, two = register(records), register(records, reward_transform="sigmoid")
    thumbs = [{**record, "thumb": "up"} for record in records]
    three = register(thumbs, reward_field="thumb", reward_kind="thumbs")
    mixture("made_alike", [(task.name, 1.0) for task in (two, three, one)])
    assert task_for_inputs("made_alike") in (one, two, three)
    assert task_for_inputs(two.name) is two
    with pytest.raises(ConfigError, match=f"is a mixture of {one.name}, {two.name}, "):
        feedback_task("made_alike")


def test_tasks_that_read_inputs_otherwise_must_be_named(
    register, trajectories, mixture
):
    one = register(trajectories(2))
    other = register(trajectories(2), prompt_template="Q: {prompt}")
    mixture("made_unlike", [(one.name, 1.0), (other.name, 1.0)])
    with pytest.raises(ConfigError) as raised:
        task_for_inputs("made_unlike")
    for task in (one, other):
        assert f"--gin.MIXTURE_OR_TASK_NAME={task.name}" in str(raised.value)
