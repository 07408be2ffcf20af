"""Records without feedback give the tokens that training gives the same texts."""

import json

import numpy as np
import pytest
import seqio

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.inputs import (
    Input,
    as_inputs,
    as_prompts,
    input_batches,
    record_ids,
)
from dro_jax.data.raw_records import read_raw
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.errors import DataError

LENGTHS = {"inputs": 10, "targets": 4}
RECORDS = [
    {"question": f"how {i}?", "answer": "x" * i, "score": 1.0} for i in range(1, 6)
]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture
def task(tmp_path):
    path = write(tmp_path / "logs.jsonl", RECORDS)
    yield register_feedback_task(
        "with_inputs",
        JsonlSource({"train": path}),
        vocabulary="byte",
        prompt_field="question",
        response_field="answer",
        reward_field="score",
        prompt_template="Q: {prompt}",
    )
    seqio.TaskRegistry.remove("with_inputs")


def test_same_tokens_as_training(task, tmp_path):
    unscored = [{k: v for k, v in r.items() if k != "score"} for r in RECORDS]
    path = write(tmp_path / "pairs.jsonl", unscored)
    inputs = as_inputs(task, read_raw(path), responses=True)
    assert inputs[0].prompt == "Q: how 1?"
    assert inputs[0].fields == unscored[0]
    ours = list(input_batches(task, inputs, LENGTHS, batch_size=2))
    config = DatasetConfig("with_inputs", LENGTHS, batch_size=2)
    trained = list(config.one_pass().batches())
    assert len(ours) == len(trained) == 3
    for mine, theirs in zip(ours, trained, strict=True):
        for name in ("encoder_input_tokens", "decoder_target_tokens", "truncated",
                     "decoder_input_tokens", "trajectory_weights"):  # fmt: skip
            np.testing.assert_array_equal(mine[name], theirs[name])
    # The last of five records stands in a batch that is filled up.
    ids = np.concatenate([mine["record_ids"] for mine in ours])[:, 0]
    np.testing.assert_array_equal(ids[:5], record_ids(inputs))
    # As prompts alone they have the same tokens and ids, and no padding.
    prompts = as_prompts(task, inputs, LENGTHS)
    np.testing.assert_array_equal(prompts.record_ids, record_ids(inputs))
    rows = np.concatenate([mine["encoder_input_tokens"] for mine in ours])
    assert [row.tolist() for row in prompts.tokens] == [
        r[r > 0].tolist() for r in rows[:5]
    ]


def test_prompts_need_no_response(task, tmp_path):
    path = write(tmp_path / "prompts.jsonl", [{"question": "why?"}])
    (item,) = as_inputs(task, read_raw(path), responses=False)
    assert (item.prompt, item.response) == ("Q: why?", "")
    with pytest.raises(DataError, match="line 1: field 'answer' is missing"):
        as_inputs(task, read_raw(path), responses=True)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no records"):
        read_raw(write(tmp_path / "none.jsonl", []))


def test_a_record_s_id_is_what_it_says():
    said = [{"question": "a", "n": 1}, {"question": "a", "n": 2}, {"question": "b"}]
    inputs = [Input(fields, fields["question"]) for fields in said]
    ids = record_ids(inputs)
    assert ids.dtype == np.int32 and len(np.unique(ids, axis=0)) == 3
    np.testing.assert_array_equal(record_ids(inputs[::-1]), ids[::-1])
    np.testing.assert_array_equal(record_ids(inputs[1:]), ids[1:])
    again = Input({"n": 1, "question": "a"}, "another template's text")
    np.testing.assert_array_equal(record_ids([again]), ids[:1])
    # Equal records are told apart by their number alone.
    twice = record_ids([inputs[0], inputs[2], inputs[0]])
    np.testing.assert_array_equal(twice[:2], ids[[0, 2]])
    assert (twice[2] != ids[0]).any()
    # Those that come from no file are told by their prompts.
    bare = record_ids([Input({}, "a"), Input({}, "b")])
    assert (bare[0] != bare[1]).any()
