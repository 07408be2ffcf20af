"""Layouts and fields from records alone; what they do not tell is asked for."""

import re

import pytest
from published_files import PUBLISHED, PUBLISHED_TREES, A, U

from dro_jax.data.layouts.guessing import guess_layout
from dro_jax.errors import ConfigError

KNOWN = [
    *(pytest.param(rows, layout, id=layout) for layout, (rows, _) in PUBLISHED.items()),
    *(pytest.param(rows, "oasst2", id=k) for k, (rows, _) in PUBLISHED_TREES.items()),
]


@pytest.mark.parametrize(("records", "layout"), KNOWN)
def test_published_files_are_known(records, layout):
    if layout == "trl_paired":
        records = records[1:2]  # the others are as any pairs
    if layout == "kto_mix":
        layout = "trl_unpaired"  # which reads it alike
    assert guess_layout(records, {}).layout == layout


@pytest.mark.parametrize(
    ("record", "layout", "settings", "sure"),
    [
        (
            {"prompt": "p", "response": "r", "reward": 0.5},
            "trajectories",
            ("prompt", "response", "reward", "float"),
            True,
        ),
        (
            {
                "id": 7,
                "question": "p",
                "model_answer": "r",
                "thumb": "up",
                "lang": "en",
            },
            "trajectories",
            ("question", "model_answer", "thumb", "thumbs"),
            False,
        ),
        (
            {"row_id": 1, "query": [U("p")], "reply": [A("r")], "csat": 4},
            "trajectories",
            ("query", "reply", "csat", "float"),
            False,
        ),
        (
            {
                "conversations": [{"from": "human", "value": "p"}]
                + [{"from": "gpt", "value": "r"}],
                "liked": True,
            },
            "messages",
            ("conversations", None, "liked", "thumbs"),
            True,
        ),
        (
            {"question": "p", "chosen": "a", "rejected": "b"},
            "pairs",
            ("question", None, None, None),
            False,
        ),
        (
            {"chosen": [U("p"), A("a")], "rejected": [U("p"), A("b")]},
            "pairs",
            (None, None, None, None),
            True,
        ),
    ],
)
def test_fields_are_found_by_their_names_and_kinds(record, layout, settings, sure):
    guess = guess_layout([record] * 3, {})
    names = ("prompt_field", "response_field", "reward_field", "reward_kind")
    assert guess.layout == layout
    assert tuple(map(guess.settings.get, names)) == settings
    assert guess.sure == sure
    assert guess.reasons


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"prompt": "p", "response": "r", "stars": 4, "score": 2},
            "the reward is not told: it may be any of 'stars', 'score'. .*--reward_field",
        ),
        (
            {"prompt": "p", "response": "r"},
            "the reward is not told: none looks like one",
        ),
        ({"a": "p", "b": "r", "reward": 1}, "the response is not told: .*'a', 'b'"),
        (
            {"prompt": "p", "response": "r", "reward": [1]},
            "the reward is not told: none .* fields are: prompt, response, reward",
        ),
    ],
)
def test_what_is_not_told_is_asked_for(record, message):
    with pytest.raises(ConfigError, match=message):
        guess_layout([record], {})


def test_what_is_given_is_not_guessed():
    records = [
        {"a": "p", "b": "r", "stars": 4, "score": "fine"},
        {"a": "p", "b": "r", "stars": 2, "score": "fine"},
    ]
    fields = {"prompt_field": "a", "response_field": "b"}
    guess = guess_layout(records, {**fields, "layout": None, "reward_field": "stars"})
    assert guess.settings == {**fields, "reward_field": "stars", "reward_kind": "float"}
    with pytest.raises(ConfigError, match="'score' holds 'fine', which is neither"):
        guess_layout(records, {**fields, "reward_field": "score"})
    kto = [{"prompt": "p", "completion": "r", "label": 1, "score": 0.25}]
    guess = guess_layout(kto, {"layout": "trl-unpaired", "reward_field": "score"})
    assert (guess.layout, guess.settings) == ("trl_unpaired", {"reward_field": "score"})


@pytest.mark.parametrize(
    ("rewards", "kind", "reason"),
    [
        (["down", "up", "maybe"], "thumbs", r"thumbs: down, up \(2 of 3\)"),
        ([4, 2.5, "n/a"], "float", r"numbers from 2.5 to 4 \(2 of 3\)"),
        ([1, 0, "n/a"], "thumbs", r"numbers from 0 to 1 \(2 of 3\)"),
    ],
)
def test_a_few_bad_rewards_do_not_hide_the_kind(rewards, kind, reason):
    records = [{"prompt": "p", "response": "r", "reward": r} for r in rewards]
    guess = guess_layout(records, {})
    assert guess.settings["reward_kind"] == kind and not guess.sure
    assert re.search(reason, " ".join(guess.reasons))


def test_the_value_that_is_no_feedback_is_named():
    records = [
        {"prompt": "p", "response": "r", "reward": r}
        for r in ("down", "maybe", "perhaps", "hm")
    ]
    with pytest.raises(ConfigError, match="'reward' holds 'maybe', which is neither"):
        guess_layout(records, {"reward_field": "reward"})
    halves = [{"prompt": "p", "response": "r", "reward": r} for r in (4, "up")]
    with pytest.raises(ConfigError, match="'reward' holds numbers and words"):
        guess_layout(halves, {})


def test_a_reward_field_without_values_is_named():
    records = [{"prompt": "p", "response": "r", "reward": None}]
    with pytest.raises(ConfigError, match="no record holds a value in .* 'nope'"):
        guess_layout(records, {"reward_field": "nope"})


def test_a_file_is_judged_by_most_of_its_records():
    records = [{"prompt": "p", "completion": "r", "label": True}] * 3
    guess = guess_layout([*records, {"prompt": "p"}], {})
    assert (guess.layout, guess.sure) == ("trl_unpaired", False)
    assert guess.reasons == ["'prompt', 'completion' and 'label': 3 of 4"]
