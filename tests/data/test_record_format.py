"""Messages in every place that a prompt and a response may stand, by one rule."""

import pytest

from dro_jax.data.chat_template import ChatTemplate
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import Cell, RecordProblem
from dro_jax.errors import ConfigError

TALK = "Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"


def U(text):
    return {"role": "user", "content": text}


def A(text):
    return {"role": "assistant", "content": text}


def S(text):
    return {"role": "system", "content": text}


def _read(record_format=None, **fields):
    record = (record_format or RecordFormat()).parse({"reward": 1.0, **fields})
    return record.prompt, record.response


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"prompt": "p", "response": "r"}, "p"),
        ({"prompt": "p", "response": [A("r")]}, "p"),
        ({"prompt": "p", "response": A("r")}, "p"),
        ({"prompt": [U("a")], "response": "r"}, "Human: a\n\nAssistant:"),
        ({"prompt": [U("a"), A("b"), U("c")], "response": [A("r")]}, TALK),
        ({"prompt": [U("a")], "response": [A("b"), U("c"), A("r")]}, TALK),
        # A prompt that the response's conversation begins with is not said twice.
        ({"prompt": [U("a")], "response": [U("a"), A("b"), U("c"), A("r")]}, TALK),
        ({"prompt": "a", "response": [U("a"), A("b"), U("c"), A("r")]}, TALK),
        ({"prompt": "c ", "response": [U("a"), A("b"), U("c"), A("r")]}, TALK),
        ({"response": [U("a"), A("b"), U("c"), A("r")]}, TALK),
        (
            {"response": [S("s"), U("a"), A("r")]},
            "System: s\n\nHuman: a\n\nAssistant:",
        ),
        ({"response": [S(""), U("a"), A("r")]}, "Human: a\n\nAssistant:"),
    ],
)
def test_the_last_turn_is_the_response_and_all_others_are_the_prompt(fields, prompt):
    assert _read(**fields) == (prompt, "r")


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        (
            {"prompt": "p", "response": [A("r"), U("x")]},
            "no_response",
            "'response' ends",
        ),
        ({"response": [U("a"), A("r"), U("x")]}, "no_response", "the role 'user'"),
        ({"response": [A("r")]}, "missing_field", "'prompt' is missing"),
        (
            {"prompt": [U("a"), A("b")], "response": "r"},
            "no_open_turn",
            "'prompt' ends",
        ),
        ({"prompt": [U(" ")], "response": "r"}, "empty_turn", "turn 1 of 'prompt'"),
        (
            {"prompt": [U("a")], "response": [A("")]},
            "empty_response",
            "response is empty",
        ),
        (
            {"prompt": "p", "response": [U("a"), A("r")]},
            "prompts_differ",
            "no turn of the user's is the text 'prompt'",
        ),
        (
            {"prompt": [U("a"), {"role": "tool", "content": "t"}], "response": "r"},
            "unknown_role",
            "turn 2 of 'prompt' is of the role 'tool'",
        ),
    ],
)
def test_a_record_of_which_a_turn_would_be_lost_is_refused(fields, reason, message):
    with pytest.raises(RecordProblem, match=message) as caught:
        _read(**fields)
    assert caught.value.reason == reason


def test_prompt_and_response_in_one_field():
    record_format = RecordFormat(prompt_field="messages", response_field="messages")
    messages = [U("a"), A("b"), U("c"), A("r")]
    assert _read(record_format, messages=messages) == (TALK, "r")
    # To generate, the logged response is not needed, and is no part of the prompt.
    assert record_format.prompt({"messages": messages}) == TALK
    assert record_format.prompt({"messages": messages[:-1]}) == TALK
    for value in ("text", []):
        with pytest.raises(RecordProblem, match="'messages' is prompt and response in"):
            record_format.prompt({"messages": value})


def test_prompts_without_a_response_follow_the_same_rule():
    assert RecordFormat().prompt({"prompt": [U("a"), A("b"), U("c")]}) == TALK
    assert RecordFormat().prompt({"prompt": "p", "response": None}) == "p"


def test_texts_may_be_the_words_of_a_user():
    user = RecordFormat(text_prompts="user")
    assert user.prompt({"prompt": " a"}) == "Human: a\n\nAssistant:"
    helpsteer = RecordFormat(text_prompts="helpsteer")
    text = "a\n<extra_id_1>Assistant\nb\n<extra_id_1>User\nc"
    assert helpsteer.prompt({"prompt": text}) == TALK
    with pytest.raises(ConfigError, match="text_prompts = 'x' is unknown"):
        RecordFormat(text_prompts="x")


def test_a_chat_template_of_one_s_own():
    texts = {"user": "Q {content}.", "tool": "{{{content}}}", "separator": " | "}
    record_format = RecordFormat(
        chat_template=ChatTemplate({**texts, "assistant": "A [{content}]"}),
        prompt_template="{lang}: {prompt}",
    )
    talk = [U("{a}"), A("b"), {"role": "tool", "content": "t"}]
    prompt = record_format.prompt({"lang": "en", "prompt": talk})
    assert prompt == "en: Q {a}. | A [b] | {t} | A ["


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("Human: {content}", "chat_template is text"),
        ({"user": "Human:"}, r"chat_template\['user'\] = 'Human:' names no field"),
        ({"user": "{text}"}, "must contain '{content}' once"),
        ({"user": "{content} {content}"}, "must contain '{content}' once"),
        ({"separator": 1}, "separator of chat_template must be text"),
    ],
)
def test_chat_templates_that_cannot_be_used(texts, message):
    with pytest.raises(ConfigError, match=message):
        ChatTemplate(texts)


def test_rewards_are_named_by_their_field():
    with pytest.raises(RecordProblem, match=r"the reward \(field 'stars'\) is missing"):
        RecordFormat(reward_field="stars").parse(
            {"prompt": "p", "response": "r", "stars": None}
        )


@pytest.mark.parametrize(
    "value",
    ["a", "é", "", " \n", "\u200b", "\u200ba", "\u200b\ud800", "a\ud800", None, 3]
    + [Cell("a"), Cell(" "), [A("r")], [], {}, ["a"]],
)
@pytest.mark.parametrize("field", ["prompt", "response"])
def test_texts_are_taken_at_once_only_where_all_checks_would_take_them(field, value):
    at_once, checked = RecordFormat(), RecordFormat()
    object.__setattr__(checked, "_plain_prompts", False)
    object.__setattr__(checked, "_plain_responses", False)

    def outcome(record_format):
        try:
            return record_format.parse(
                {"prompt": "p", "response": "r", "reward": 1.0, field: value}
            )
        except RecordProblem as problem:
            return problem.reason, problem.message

    assert outcome(at_once) == outcome(checked)
