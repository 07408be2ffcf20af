import numpy as np
import pytest

from dro_jax import rewards
from dro_jax.errors import ConfigError


def total(reward, *responses):
    return reward([""] * len(responses), responses).total.tolist()


def test_length_counts_words_or_characters():
    texts = ("", "one", "two  words\n", "naïve 👍🏽")
    assert total(rewards.Length(), *texts) == [0, 1, 2, 2]
    assert total(rewards.Length("characters"), *texts) == [0, 3, 11, 8]


def test_length_has_a_target_or_a_cap():
    texts = ("a", "a b c", "a b c d e")
    aimed = rewards.Length(target=3)(["", "", ""], texts)
    assert aimed.total.tolist() == [-2, 0, -2]
    assert aimed.parts["length"].tolist() == [1, 3, 5]
    assert total(rewards.Length(cap=4), *texts) == [1, 3, 4]


@pytest.mark.parametrize(
    "text, whole",
    [
        ("It is so.", 1),
        ('He said "no!" ', 1),
        ("(see above.)", 1),
        ("本当です。", 1),
        ("It is", 0),
        ("well, ", 0),
        ("", 0),
        (".", 1),
    ],
)
def test_form_ends_whole(text, whole):
    assert total(rewards.Format(ends_whole=True), text) == [whole]


def test_form_is_the_share_of_wishes_met_each_a_part():
    reward = rewards.Format(
        not_empty=True, starts_with="{", parses_as_json=True, json_keys=["a"]
    )
    texts = ['{"a": 1, "b": NaN}', '{"a": 1}', "{", " ", "[1]", '{"b": 2}']
    found = reward([""] * len(texts), texts)
    assert {name: part.tolist() for name, part in found.parts.items()} == {
        "not_empty": [1, 1, 1, 0, 1, 1],
        "starts_with": [1, 1, 1, 0, 0, 1],
        "parses_as_json": [0, 1, 0, 0, 1, 1],
        "json_keys": [0, 1, 0, 0, 0, 0],
    }
    assert found.total.tolist() == [0.5, 1, 0.5, 0, 0.5, 0.75]
    assert total(reward, "[" * 100_000) == [0.25]


def test_pattern_is_found_or_counted():
    texts = ("Sorry, so sorry", "sorry", "no")
    assert total(rewards.Pattern("(?i)sorry"), *texts) == [1, 1, 0]
    assert total(rewards.Pattern("(?i)sorry", count=True), *texts) == [2, 1, 0]
    assert total(rewards.Pattern("o", count=True, cap=2), *texts) == [2, 1, 1]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: rewards.Length("tokens"), "'words' or 'characters'"),
        (lambda: rewards.Length(target=1, cap=2), "a target and a cap"),
        (lambda: rewards.Length(cap=-1), "from 0 on"),
        (lambda: rewards.Length(target=float("nan")), "from 0 on"),
        (lambda: rewards.Format(), "wishes for nothing"),
        (lambda: rewards.Format(json_keys="answer"), "must be a list"),
        (lambda: rewards.Pattern("("), "no regular expression"),
        (lambda: rewards.Pattern("a*", count=True), "empty text everywhere"),
        (lambda: rewards.Pattern("a", cap=2), "count = True"),
    ],
)
def test_settings_without_sense_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_fingerprint_tells_settings_apart():
    made = [
        rewards.Length(),
        rewards.Length("characters"),
        rewards.Length(cap=3),
        rewards.Length(target=3),
        rewards.Format(not_empty=True),
        rewards.Pattern("a"),
        rewards.Pattern("b"),
    ]
    assert len({reward.fingerprint for reward in made}) == len(made)
    assert rewards.Length(cap=3).fingerprint == rewards.Length(cap=3).fingerprint


def test_scores_are_float64_of_no_responses_too():
    for reward in (rewards.Length(), rewards.Format(not_empty=True)):
        scores = reward([], [])
        assert scores.total.dtype == np.float64 and scores.total.shape == (0,)
