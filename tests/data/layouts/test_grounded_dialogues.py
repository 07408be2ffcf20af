"""Wizard of Wikipedia and FaithDial, in the shapes in which they are published."""

import functools
import re

import pytest
from published_dialogues import (
    FAITHDIAL,
    FAITHDIAL_PROMPTS,
    FAITHDIAL_RESPONSES,
    WIZARD,
    WIZARD_PROMPTS,
    WIZARD_RESPONSES,
    apprentice,
    utterance,
    wizard,
    wizards,
)
from split_texts import identities_of, prompts_of, responses_of

from dro_jax.data.layouts import settings_of
from dro_jax.data.layouts.grounded_dialogues import expand_faithdial, expand_wizard
from dro_jax.data.layouts.guessing import guess_layout
from dro_jax.data.several_responses import jsonl_source
from dro_jax.rewards import Length


@pytest.fixture
def load(write_jsonl, register_source):
    def load(rows, layout):
        source = jsonl_source({"train": write_jsonl(rows)}, layout)
        task = register_source(source, **settings_of(layout, {"scored_by": Length()}))
        return task.records("train")

    return load


@pytest.mark.parametrize(
    ("layout", "rows", "prompts", "responses"),
    [
        ("wizard_of_wikipedia", WIZARD, WIZARD_PROMPTS, WIZARD_RESPONSES),
        ("faithdial", FAITHDIAL, FAITHDIAL_PROMPTS, FAITHDIAL_RESPONSES),
        # As the hub's tables have them, each utterance by itself.
        (
            "faithdial",
            [{"dialog_idx": 0, **u} for u in FAITHDIAL[0]["utterances"]],
            FAITHDIAL_PROMPTS,
            FAITHDIAL_RESPONSES,
        ),
    ],
)
def test_replies_with_their_knowledge_are_trajectories(
    load, layout, rows, prompts, responses
):
    records = load(rows, layout)
    assert list(prompts_of(records)) == prompts
    assert list(responses_of(records)) == responses
    assert records.report.num_dropped == 0
    assert guess_layout(rows, {}).layout == layout


def test_records_are_called_by_their_turns(load):
    told = [
        name.rpartition("/")[2]
        for name in identities_of(load(WIZARD, "wizard_of_wikipedia"))
    ]
    assert told == [
        "records.jsonl line 1 turn 3",
        "records.jsonl line 1 turn 9",
        "records.jsonl line 2 turn 2",
    ]
    (_, last) = identities_of(load(FAITHDIAL, "faithdial"))
    assert last.endswith("line 1 reply 2")


def test_labels_of_faithdial_are_kept():
    _, (_, fields) = expand_faithdial(FAITHDIAL[0])
    assert fields["original_response"] == "I drank it as a child."
    assert fields["BEGIN"] == ["Hallucination", "Entailment"]
    assert fields["knowledge"] == "It is older than coffee. "


@pytest.mark.parametrize(
    ("most", "count"), [(None, 8), (100, 8), (13, 6), (3, 2), (2, 1), (0, 1)]
)
def test_the_oldest_turns_are_left_out_of_long_dialogues(most, count):
    # Words of the turns: 5, 3, 3, 4, 2, 1, 1, 2.
    *_, (_, fields) = functools.partial(expand_wizard, most_words=most)(WIZARD[0])
    assert len(fields["messages"]) == 1 + count + 1
    assert fields["messages"][-2]["content"] == "Come on."


@pytest.mark.parametrize(
    ("layout", "row", "reason", "message"),
    [
        (
            "wizard_of_wikipedia",
            {"dialog": "a"},
            "wrong_type",
            "'dialog' is not a list",
        ),
        ("wizard_of_wikipedia", {"a": 1}, "missing_field", "'dialog' is missing"),
        (
            "wizard_of_wikipedia",
            wizards({"speaker": "bot", "text": "a"}),
            "unknown_speaker",
            r"'dialog\[0\].speaker' is 'bot', neither",
        ),
        (
            "wizard_of_wikipedia",
            wizards(apprentice("a"), {**wizard("b", None), "checked_sentence": ["c"]}),
            "wrong_type",
            r"'dialog\[1\].checked_sentence' is a list",
        ),
        (
            "wizard_of_wikipedia",
            wizards(apprentice(None)),
            "wrong_type",
            r"'dialog\[0\].text' is (null|None)",
        ),
        (
            "wizard_of_wikipedia",
            wizards(apprentice("a")),
            "no_responses",
            "it holds no response",
        ),
        (
            "faithdial",
            {"utterances": [utterance([], "k", "r")]},
            "empty_prompt",
            r"'utterances\[0\].history' is empty",
        ),
        (
            "faithdial",
            {"utterances": [utterance("a", "k", "r")]},
            "wrong_type",
            r"'utterances\[0\].history' is not a list of texts",
        ),
        (
            "faithdial",
            {"utterances": [{"history": ["a"], "knowledge": "k"}]},
            "missing_field",
            "field 'response' is missing",
        ),
        ("faithdial", {"utterances": 5}, "wrong_type", "'utterances' is not a list"),
        (
            "faithdial",
            utterance(["a"], None, "r"),
            "wrong_type",
            "'knowledge' is (null|None)",
        ),
        (
            "faithdial",
            {"utterances": [utterance(["a"], " ", "r")]},
            "no_knowledge",
            r"'utterances\[0\].knowledge' is empty",
        ),
    ],
)
def test_what_is_of_another_shape_is_named(load, layout, row, reason, message):
    rows = [*(WIZARD if layout == "wizard_of_wikipedia" else FAITHDIAL), row]
    (dropped,) = load(rows, layout).report.dropped
    assert dropped.reason == reason
    assert re.search(message, dropped.message), dropped.message


def test_an_utterance_that_cannot_be_used_costs_the_others_nothing(load):
    row = {"utterances": [utterance(["a"], k, f"{k} r") for k in ("k", "", "l", None)]}
    records = load([row], "faithdial")
    assert list(responses_of(records)) == ["k r", "l r"]
    (dropped,) = records.report.dropped
    assert dropped.identity.endswith("records.jsonl line 1")
    assert "'utterances[1].knowledge' is empty" in dropped.message
