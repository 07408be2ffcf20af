"""Every bad record is refused by its identity, or dropped, counted and listed."""

import json

import numpy as np
import pytest
from split_texts import prompts_of, responses_of

from dro_jax.errors import ConfigError, DataError

GOOD = {"prompt": "p", "response": "r", "reward": 1.0}


def _with(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def _without(field):
    return json.dumps({k: v for k, v in GOOD.items() if k != field}).encode()


BAD_RECORDS = {
    "text that is not JSON": (b"hello", "not_json"),
    "half an object": (b'{"prompt": "p"', "not_json"),
    "two objects in a line": (b'{"prompt": "p"} {"prompt": "q"}', "not_json"),
    "single quotes": (b"{'prompt': 'p'}", "not_json"),
    "endless nesting": (b"[" * 100_000, "not_json"),
    "a number of 10,000 digits": (b'{"reward": ' + b"9" * 10_000 + b"}", "not_json"),
    "a NUL byte": (b"\x00", "not_json"),
    "not UTF-8": (b'{"prompt": "\xff"}', "invalid_utf8"),
    "half a surrogate pair": (
        b'{"prompt": "p", "response": "\\ud83d", "reward": 1}',
        "empty_response",
    ),
    "half a surrogate pair in text": (
        b'{"prompt": "p \\ud83d", "response": "r", "reward": 1}',
        "invalid_utf8",
    ),
    "a list": (b"[1, 2]", "not_object"),
    "a text": (b'"prompt"', "not_object"),
    "null": (b"null", "not_object"),
    "no prompt": (_without("prompt"), "missing_field"),
    "no response": (_without("response"), "missing_field"),
    "no reward": (_without("reward"), "missing_field"),
    "an empty object": (b"{}", "missing_field"),
    "prompt null": (_with(prompt=None), "wrong_type"),
    "prompt a number": (_with(prompt=3), "wrong_type"),
    "response a list": (_with(response=["r"]), "wrong_type"),
    "response an object": (_with(response={"text": "r"}), "wrong_type"),
    "response a truth value": (_with(response=True), "wrong_type"),
    "empty prompt": (_with(prompt=""), "empty_prompt"),
    "empty response": (_with(response=""), "empty_response"),
    "response of spaces": (_with(response=" \n\t"), "empty_response"),
    "response of invisible characters": (
        _with(response="\u200b\ufeff"),
        "empty_response",
    ),
    "reward null": (_with(reward=None), "reward_missing"),
    "reward NaN": (_with(reward=float("nan")), "reward_not_finite"),
    "reward infinite": (_with(reward=float("inf")), "reward_not_finite"),
    "reward minus infinite": (_with(reward=float("-inf")), "reward_not_finite"),
    "reward beyond float32": (_with(reward=1e39), "reward_not_finite"),
    "reward beyond float64": (_with(reward=10**400), "reward_not_finite"),
    "reward a text": (_with(reward="0.5"), "reward_not_numeric"),
    "reward a list": (_with(reward=[0.5]), "reward_not_numeric"),
    "reward a truth value": (_with(reward=True), "reward_not_numeric"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_bad_record_is_refused_by_its_identity(register, line, reason):
    task = register([GOOD, line, GOOD])
    with pytest.raises(
        DataError, match=r"-train\.jsonl line 2: .*on_bad_record='drop'"
    ):
        task.records("train")


@pytest.mark.parametrize(("line", "reason"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_bad_record_is_dropped_and_listed(register, line, reason):
    task = register([GOOD, line, GOOD], on_bad_record="drop")
    loaded = task.records("train")
    assert len(loaded) == 2
    assert np.isfinite(loaded.rewards).all()
    assert loaded.indices.tolist() == [0, 2]
    (dropped,) = task.record_report().dropped
    assert dropped.identity.endswith("-train.jsonl line 2")
    assert dropped.reason == reason
    assert dropped.message


@pytest.mark.parametrize(
    ("kind", "reward", "reason"),
    [
        ({"reward_kind": "thumbs"}, "sideways", "unknown_thumbs_label"),
        ({"reward_kind": "thumbs"}, 2, "unknown_thumbs_label"),
        ({"reward_kind": "thumbs"}, "", "unknown_thumbs_label"),
        ({"reward_kind": "thumbs"}, None, "reward_missing"),
        ({"reward_kind": "thumbs"}, float("nan"), "reward_not_finite"),
        ({"reward_kind": "likert", "likert_range": (1, 5)}, 6, "reward_out_of_range"),
        ({"reward_kind": "likert", "likert_range": (1, 5)}, 0.5, "reward_out_of_range"),
        ({"reward_kind": "likert", "likert_range": (1, 5)}, "4", "reward_not_numeric"),
    ],
)
def test_bad_feedback_of_other_kinds(register, kind, reward, reason):
    rows = [{**GOOD, "reward": reward}, {**GOOD, "reward": 1}]
    task = register(rows, on_bad_record="drop", **kind)
    assert [record.reason for record in task.record_report().dropped] == [reason]


def test_dropped_records_are_told_once_with_their_identities(register, capsys):
    task = register([GOOD, b"?", {**GOOD, "response": ""}], on_bad_record="drop")
    task.records("train")
    task.records("train")
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("note: task ")
    assert "3 records read, 2 dropped" in message
    assert "line 2" in message
    assert "line 3: the response is empty" in message


def test_empty_split(register):
    with pytest.raises(DataError, match=r"split 'train' \(.*\) holds no records"):
        register([]).records("train")


def test_split_that_is_empty_after_dropping(register):
    task = register([{**GOOD, "response": ""}] * 3, on_bad_record="drop")
    with pytest.raises(
        DataError, match=r"all 3 records are bad.*line 1: the response is"
    ):
        task.records("train")


def test_fields_are_mapped_and_named_in_errors(register):
    rows = [
        {"q": "a", "a": "b", "score": 2, "n": "x7"},
        {"q": "", "a": "b", "score": 2},
    ]
    settings = {"prompt_field": "q", "response_field": "a", "reward_field": "score"}
    task = register(rows, id_field="n", on_bad_record="drop", **settings)
    loaded = task.records("train")
    assert (prompts_of(loaded), responses_of(loaded), loaded.rewards.tolist()) == (
        ["a"],
        ["b"],
        [2.0],
    )
    assert loaded.identity(0).endswith("line 1 (n x7)")
    assert "the prompt (field 'q') is empty" in task.record_report().dropped[0].message


def test_a_field_that_is_missing_may_be_so_of_the_whole_file(register):
    task = register([{"question": "a", "answer": "b", "stars": 1}])
    with pytest.raises(
        DataError,
        match=r"line 1: .*'answer', 'question', 'stars'\. If all records.*name",
    ):
        task.records("train")


def test_template_field_that_no_record_has_is_a_configuration_error(register):
    task = register([GOOD], prompt_template="{topic}: {prompt}", on_bad_record="drop")
    with pytest.raises(ConfigError, match="prompt_template.*'topic'.*line 1 does not"):
        task.records("train")


def test_template_field_that_one_record_lacks_makes_that_record_bad(register):
    rows = [{**GOOD, "topic": "t", "n": 3}, GOOD]
    task = register(rows, prompt_template="{topic}{n}: {prompt}", on_bad_record="drop")
    assert prompts_of(task.records("train")) == ["t3: p"]
    assert task.record_report().dropped[0].reason == "missing_field"


def test_a_split_is_read_once(register, trajectories):
    task = register(trajectories(3))
    assert task.records("train") is task.records("train")


def test_record_index_that_was_dropped_has_no_identity(register):
    task = register([GOOD, b"?", GOOD], on_bad_record="drop")
    assert task.identity(2).endswith("line 3")
    for index in (1, 3, -1):
        with pytest.raises(DataError, match=f"no valid record of index {index}"):
            task.identity(index)
