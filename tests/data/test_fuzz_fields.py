"""Malformed fields that are neither prompt, response nor reward, and odd texts."""

import json

import pytest
from split_texts import responses_of

from dro_jax.data.dataset import DatasetConfig

GOOD = {"prompt": "p", "response": "r", "reward": 1.0}
HALF = "\ud83d"


def dropped(task):
    """The report's entries, after all that a run writes and reads of a split."""
    config = DatasetConfig(task.name, {"inputs": 8, "targets": 8}, num_epochs=1)
    for batch in config.batches():
        config.identities(batch)
    json.dumps(config.facts(), ensure_ascii=False).encode()
    return task.record_report().dropped


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (HALF, "invalid_utf8"),
        (f"a{HALF}", "invalid_utf8"),
        (float("nan"), "wrong_type"),
        (float("inf"), "wrong_type"),
        (True, "wrong_type"),
        (None, "wrong_type"),
        ([1], "wrong_type"),
    ],
)
@pytest.mark.parametrize("role", ["prompt", "response"])
def test_bad_fields_of_templates(role, value, reason, register):
    setting = {f"{role}_template": f"{{topic}} {{{role}}}"}
    rows = [{**GOOD, "topic": "t"}, {**GOOD, "topic": value}, {**GOOD, "topic": 7}]
    task = register(rows, on_bad_record="drop", **setting)
    (record,) = dropped(task)
    assert record.identity.endswith("line 2")
    assert record.reason == reason


@pytest.mark.parametrize("topic", ["", " ", "\u200b"])
def test_a_template_may_not_make_a_blank_prompt(topic, register):
    rows = [{**GOOD, "topic": "t"}, {**GOOD, "topic": topic}]
    task = register(rows, on_bad_record="drop", prompt_template="{topic}")
    (record,) = dropped(task)
    assert record.reason == "empty_prompt"
    assert "as prompt_template makes it" in record.message


@pytest.mark.parametrize("name", [HALF, "x" * 100_000, "\x00", '"'])
def test_names_of_fields_are_shown_safely(name, register):
    task = register([GOOD, {name: 1}], on_bad_record="drop")
    (record,) = dropped(task)
    assert record.reason == "missing_field"
    assert len(record.message) < 200


@pytest.mark.parametrize("value", [HALF, "x" * 100_000, {"a": [HALF]}, 10**400])
@pytest.mark.parametrize("reward", [1.0, None])
def test_values_that_name_records_are_shown_safely(value, reward, register):
    rows = [GOOD, {**GOOD, "id": value, "reward": reward}]
    task = register(rows, on_bad_record="drop", id_field="id")
    assert len(dropped(task)) == (reward is None)
    assert len(task.identity(0)) < 300


@pytest.mark.parametrize(
    "line",
    [
        b'{"prompt":"p","response":"r","reward":1,"reward":-1}',
        b'{"prompt":"p","response":"r","response":"r","reward":1}',
        b'{"prompt":"p","response":"r","reward":1,"n":{"a":1,"a":2}}',
        b'{"prompt":"p","response":"r","reward":1,"\\ud83d":1,"\\ud83d":2}',
    ],
)
def test_a_field_that_occurs_twice_makes_a_record_bad(line, register):
    task = register([GOOD, line], on_bad_record="drop")
    (record,) = dropped(task)
    assert record.reason == "duplicate_field"
    assert "occurs more than once" in record.message


@pytest.mark.parametrize("text", ["\U0001fae8", "\U0001fadf", "\ue000", "\U000f0000"])
def test_characters_that_this_python_does_not_know_are_no_white_space(text, register):
    task = register([GOOD, {**GOOD, "response": text}], on_bad_record="drop")
    assert dropped(task) == ()
    assert responses_of(task.records("train")) == ["r", text]
