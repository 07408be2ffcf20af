"""Lines that hold several responses, as single trajectories."""

import json

import pytest

from dro_jax.data.records import RecordProblem
from dro_jax.data.several_responses import (
    expand_list,
    expand_pair,
    expand_pro,
    jsonl_source,
)
from dro_jax.errors import ConfigError


def test_a_pair_is_a_good_and_a_bad_trajectory():
    fields = {"prompt": "p", "chosen": "yes", "rejected": "no", "source": "x"}
    assert list(expand_pair(fields)) == [
        ("chosen", {"prompt": "p", "source": "x", "response": "yes", "reward": 1.0}),
        ("rejected", {"prompt": "p", "source": "x", "response": "no", "reward": 0.0}),
    ]


def test_scores_and_messages_of_a_pair_are_read():
    fields = {
        "prompt": "p",
        "chosen": [
            {"role": "user", "content": "p"},
            {"role": "assistant", "content": "yes"},
        ],
        "rejected": "no",
        "score_chosen": 8.5,
        "score_rejected": 2.0,
    }
    found = [(one["response"], one["reward"]) for _, one in expand_pair(fields)]
    assert found == [("yes", 8.5), ("no", 2.0)]


def test_a_list_is_a_trajectory_for_each_response():
    fields = {"prompt": "p", "responses": ["a", "b"], "rewards": [0.1, 0.9]}
    assert list(expand_list(fields)) == [
        ("response 1", {"prompt": "p", "response": "a", "reward": 0.1}),
        ("response 2", {"prompt": "p", "response": "b", "reward": 0.9}),
    ]


def test_pro_s_turns_are_tagged():
    turns = ["<|prompter|>hi", "<|assistant|>what?", "<|prompter|>that", "<|assistant|>"]
    fields = {"prefix": [turns], "suffix": ["ok"], "reward": [1.5]}
    ((name, found),) = expand_pro(fields)
    assert name == "reply 1"
    assert found["prompt"] == "Human: hi\n\nAssistant: what?\n\nHuman: that\n\nAssistant:"
    assert (found["response"], found["reward"]) == ("ok", 1.5)


@pytest.mark.parametrize(
    ("expand", "fields", "message"),
    [
        (expand_pair, {"prompt": "p", "chosen": "a"}, "'rejected' is missing"),
        (expand_pair, {"chosen": [], "rejected": "a"}, "'chosen' is missing"),
        (expand_list, {"responses": ["a"], "rewards": 1.0}, "must all be lists"),
        (expand_list, {"responses": ["a"], "rewards": []}, "lengths, 1, 0"),
        (expand_pro, {"prefix": [], "suffix": []}, "'reward' must all be lists"),
        (
            expand_pro,
            {"prefix": [["hello"]], "suffix": ["a"], "reward": [1.0]},
            "no known speaker",
        ),
    ],
)
def test_what_is_not_so_is_named(expand, fields, message):
    with pytest.raises(RecordProblem, match=message):
        list(expand(fields))


def test_files_are_read_by_their_layout(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}) + "\n")
    source = jsonl_source({"train": path}, "pairs")
    found = [(raw.identity, raw.fields["reward"]) for raw in source.records("train")]
    assert found == [(f"{path} line 1 chosen", 1.0), (f"{path} line 1 rejected", 0.0)]


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="use one of 'trajectories', 'pairs'"):
        jsonl_source({"train": tmp_path / "x"}, "columns")
