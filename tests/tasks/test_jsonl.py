"""The generic task."""

import json

import pytest
import seqio
from split_texts import prompts_of, responses_of

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError
from dro_jax.rewards import Length
from dro_jax.tasks.jsonl import register_jsonl_task


@pytest.fixture
def path(tmp_path):
    rows = [{"question": f"q{i}", "response": f"r{i}", "stars": i} for i in range(1, 6)]
    file = tmp_path / "logs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.fixture(autouse=True)
def _clean_registry():
    yield
    seqio.TaskRegistry.remove("jsonl")


def test_settings_reach_the_task(path):
    task = register_jsonl_task(
        train_path=path,
        validation_path=[path, path],
        vocabulary="byte",
        prompt_field="question",
        reward_field="stars",
        reward_kind="likert",
        likert_range=(1, 5),
    )
    assert task.name == "jsonl"
    config = DatasetConfig("jsonl", {"inputs": 4, "targets": 4}, batch_size=5)
    (batch,) = config.one_pass().batches()
    assert batch["rewards"][:, 0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert task.num_input_examples("validation") == 10


def test_one_file_is_one_split(path):
    task = register_jsonl_task(
        train_path=path,
        vocabulary="byte",
        prompt_field="question",
        reward_field="stars",
    )
    assert task.splits == ("train",)


def test_the_path_is_required():
    with pytest.raises(ConfigError, match=r"set register_jsonl_task\.train_path"):
        register_jsonl_task(vocabulary="byte")


def test_a_layout_brings_its_settings_unless_others_are_given(tmp_path):
    file = tmp_path / "kto.jsonl"
    messages = {"prompt": [{"role": "user", "content": "q"}], "completion": "r"}
    file.write_text(json.dumps({**messages, "label": False, "stars": 4}) + "\n")
    given = {"prompt_field": None, "reward_field": "stars", "reward_kind": "float"}
    task = register_jsonl_task(
        train_path=file,
        vocabulary="byte",
        layout="kto_mix",
        chat_template={"user": "Q: {content}", "assistant": "A: {content}"},
        **given,
    )
    loaded = task.records("train")
    assert (prompts_of(loaded), responses_of(loaded)) == (["Q: q\n\nA:"], ["r"])
    assert loaded.rewards.tolist() == [4.0]


def test_scores_are_numbers_whatever_the_layout_holds(tmp_path):
    file = tmp_path / "kto.jsonl"
    messages = {"prompt": [{"role": "user", "content": "q"}], "completion": "r s t"}
    file.write_text(json.dumps({**messages, "label": False}) + "\n")
    task = register_jsonl_task(
        train_path=file, vocabulary="byte", layout="kto_mix", scored_by=Length()
    )
    assert task.records("train").rewards.tolist() == [3.0]
