"""Lines that hold several responses, as single trajectories."""

import json

import pytest

from dro_jax.data.layouts.lists import expand_list, expand_pro
from dro_jax.data.layouts.pairs import expand_pair, expand_trl_pair
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import RecordProblem
from dro_jax.data.several_responses import jsonl_source
from dro_jax.errors import ConfigError


def test_responses_as_generate_writes_them():
    """Its file, with `rewards` added, is one to train on."""
    written = [{"response": "yes", "logprob": -1.0}, {"response": "no", "logprob": -2.0}]
    fields = {"prompt": "p", "responses": written, "rewards": [1.0, 0.0]}
    assert _read(expand_list, fields) == [
        ("response 1", "p", "yes", 1.0),
        ("response 2", "p", "no", 0.0),
    ]


def test_a_pair_is_a_good_and_a_bad_trajectory():
    fields = {"prompt": "p", "chosen": "yes", "rejected": "no", "source": "x"}
    assert list(expand_pair(fields)) == [
        ("chosen", {"prompt": "p", "source": "x", "response": "yes", "reward": 1.0}),
        ("rejected", {"prompt": "p", "source": "x", "response": "no", "reward": 0.0}),
    ]


def _read(expand, fields):
    record_format = RecordFormat()
    return [
        (name, *record_format.parse(one))
        for name, one in expand(fields)
    ]


def U(text):
    return {"role": "user", "content": text}


def A(text):
    return {"role": "assistant", "content": text}


ASKED = "Human: p\n\nAssistant:"


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"prompt": "p", "chosen": [A("yes")], "rejected": "no"}, "p"),
        ({"prompt": [U("p")], "chosen": [A("yes")], "rejected": [A("no")]}, ASKED),
        ({"chosen": [U("p"), A("yes")], "rejected": [U("p"), A("no")]}, ASKED),
        (
            {
                "prompt": "p",
                "chosen": [U("p"), A("what?"), U("it"), A("yes")],
                "rejected": [U("p"), A("what?"), U("it"), A("no")],
            },
            "Human: p\n\nAssistant: what?\n\nHuman: it\n\nAssistant:",
        ),
        # As a table has it.
        (
            {
                "prompt": None,
                "chosen": [U("p"), A("yes")],
                "rejected": [U("p"), A("no")],
            },
            ASKED,
        ),
        (
            {
                "chosen": "\n\nHuman: p\n\nAssistant: yes",
                "rejected": "\n\nHuman: p\n\nAssistant: no",
            },
            ASKED,
        ),
    ],
)
def test_every_turn_of_a_pair_is_used(fields, prompt):
    scores = {"score_chosen": 8.5, "score_rejected": 2.0}
    assert _read(expand_pair, {**fields, **scores}) == [
        ("chosen", prompt, "yes", 8.5),
        ("rejected", prompt, "no", 2.0),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"chosen": [U("p"), A("yes"), U("thanks")], "rejected": [U("p"), A("no")]},
            "'chosen' ends in a turn of the role 'user'",
        ),
        (
            {"chosen": [U("p"), A("yes")], "rejected": [U("q"), A("no")]},
            "'chosen' and 'rejected' differ before their last turn",
        ),
        (
            {"prompt": "p", "chosen": "", "rejected": "no"},
            r"\(field 'chosen'\) is empty",
        ),
        ({"chosen": "yes", "rejected": "no"}, "has 'chosen', 'rejected'"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": None},
            r"\(field 'score_chosen'\) is missing",
        ),
    ],
)
def test_pairs_are_refused_by_the_names_of_the_file(fields, message):
    with pytest.raises(RecordProblem, match=message):
        _read(expand_pair, fields)


def test_words_that_both_texts_begin_with_are_trl_s_prompt():
    fields = {"chosen": "The sky is blue.", "rejected": "The sky is black."}
    assert _read(expand_trl_pair, fields) == [
        ("chosen", "The sky is", " blue.", 1.0),
        ("rejected", "The sky is", " black.", 0.0),
    ]
    with pytest.raises(RecordProblem, match="begin with different words"):
        _read(expand_trl_pair, {"chosen": "Yes", "rejected": "Yet"})


def test_responses_of_a_list_may_be_messages():
    fields = {
        "prompt": [U("p")],
        "responses": [A("a"), [A("b")], "c"],
        "rewards": [1, 2, None],
    }
    found = expand_list(fields)
    assert _read(lambda fields: [next(found), next(found)], fields) == [
        ("response 1", ASKED, "a", 1.0),
        ("response 2", ASKED, "b", 2.0),
    ]
    with pytest.raises(RecordProblem, match=r"\(field 'rewards\[2\]'\) is missing"):
        RecordFormat().parse(next(found)[1])


def test_a_list_is_a_trajectory_for_each_response():
    fields = {"prompt": "p", "responses": ["a", "b"], "rewards": [0.1, 0.9]}
    assert list(expand_list(fields)) == [
        ("response 1", {"prompt": "p", "response": "a", "reward": 0.1}),
        ("response 2", {"prompt": "p", "response": "b", "reward": 0.9}),
    ]


def test_pro_s_turns_are_tagged():
    turns = [
        "<|prompter|>hi",
        "<|assistant|>what?",
        "<|prompter|>that",
        "<|assistant|>",
    ]
    fields = {"prefix": [turns], "suffix": ["ok"], "reward": [1.5]}
    prompt = "Human: hi\n\nAssistant: what?\n\nHuman: that\n\nAssistant:"
    assert _read(expand_pro, fields) == [("reply 1", prompt, "ok", 1.5)]


@pytest.mark.parametrize(
    ("expand", "fields", "message"),
    [
        (
            expand_pair,
            {"prompt": "p", "chosen": "a"},
            "'rejected' is missing; the record has 'chosen', 'prompt'",
        ),
        (expand_pair, {"chosen": [], "rejected": "a"}, "'chosen' is a list, neither"),
        (expand_pair, {"chosen": 3, "rejected": "a"}, "'chosen' is a number, neither"),
        (
            expand_list,
            {"prompt": "p", "response": "a"},
            "'responses' is missing; the record has 'prompt', 'response'",
        ),
        (expand_list, {"responses": ["a"], "rewards": 1.0}, "must all be lists"),
        (expand_list, {"responses": ["a"], "rewards": []}, "lengths, 1, 0"),
        (
            expand_pro,
            {"prefix": [], "suffix": []},
            "'reward' is missing; the record has",
        ),
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


@pytest.mark.parametrize(
    ("layout", "record"),
    [
        ("lists", {"prompt": "p", "responses": [], "rewards": []}),
        ("pro", {"prefix": [], "suffix": [], "reward": []}),
        ("ultrafeedback", {"instruction": "p", "completions": []}),
    ],
)
def test_an_object_without_responses_is_a_bad_record(layout, record, tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text(json.dumps(record) + "\n")
    (raw,) = jsonl_source({"train": path}, layout).records("train")
    assert raw.problem.reason == "no_responses"
    assert raw.identity == f"{path} line 1"


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="use one of 'trajectories', 'pairs'"):
        jsonl_source({"train": tmp_path / "x"}, "columns")
