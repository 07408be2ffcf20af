"""Messages and tagged texts, read as turns."""

import pytest

from dro_jax.data.conversations import Turn, extra_id_turns, read_turns, tagged_turns
from dro_jax.data.records import RecordProblem

TURNS = (Turn("user", "hi"), Turn("assistant", "hello"))


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
        [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}],
        [{"role": "prompter", "content": " hi\n"}, {"role": "Bot", "content": "hello"}],
        [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": ["hello"]},
        ],
        [{"from": "human", "content": "hi"}, {"role": "gpt", "value": "hello"}],
        # As columns, which Parquet and TFDS give.
        {"role": ["user", "assistant"], "content": ["hi", "hello"]},
    ],
)
def test_turns_of_messages(value):
    assert read_turns(value, "f") == TURNS


def test_one_message_is_one_turn_and_parts_are_lines():
    message = {"role": "developer", "content": ["a", {"type": "text", "text": "b"}]}
    assert read_turns(message, "f") == (Turn("system", "a\nb"),)


@pytest.mark.parametrize(
    "value",
    ["text", None, 1.0, [], ["text"], {"a": 1}] + [{"role": [], "content": []}],
)
def test_what_is_no_message_is_left(value):
    assert read_turns(value, "f") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"role": "user", "content": "a"}, "b"], "turn 2 of 'f' is no message"),
        ({"role": ["user"], "content": ["a", "b"]}, "have different lengths"),
        ([{"content": "a"}], "turn 1 of 'f' is no message: it has no role"),
        ([{"role": 3, "content": "a"}], "the role of turn 1 of 'f' is a number"),
        ([{"role": "user", "content": {"a": 1}}], "is an object, not text"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
            "no text but of type 'image_url'",
        ),
        (
            [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
            r"turn 1 of 'f' calls a tool \('tool_calls'\)",
        ),
    ],
)
def test_messages_that_are_none_are_named(value, message):
    with pytest.raises(RecordProblem, match=message):
        read_turns(value, "f")


def test_tagged_text():
    text = "\n\nHuman: a: b\n\nc \n\nAssistant: Human: d\n\nHuman: e\n\nAssistant:"
    assert read_turns(tagged_turns(text, "f"), "f") == (
        Turn("user", "a: b\n\nc"),
        Turn("assistant", "Human: d"),
        Turn("user", "e"),
        Turn("assistant", ""),
    )
    assert tagged_turns("no tags", "f") is None
    assert tagged_turns("\n\nHuman: alone", "f") is None
    with pytest.raises(RecordProblem, match="'f' begins with text .*: 'Once'"):
        tagged_turns("Once\n\nHuman: a\n\nAssistant: b", "f")


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("a", [("user", "a")]),
        (
            "a\n<extra_id_1>Assistant\nb\n<extra_id_1>User\nc",
            [("user", "a"), ("assistant", "b"), ("user", "c")],
        ),
        ("a\n<extra_id_1>Assistant\n", [("user", "a")]),
        ("<extra_id_1>User\na", [("user", "a")]),
    ],
)
def test_helpsteer_prompts(text, turns):
    assert read_turns(extra_id_turns(text), "f") == tuple(Turn(*t) for t in turns)
