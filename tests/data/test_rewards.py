"""Floats, thumbs and Likert scales; what is not one of them raises."""

import pytest

from dro_jax.data.records import RecordProblem
from dro_jax.data.rewards import reward_kind
from dro_jax.errors import ConfigError


@pytest.mark.parametrize(("value", "reward"), [(0.25, 0.25), (3, 3.0), (-1e30, -1e30)])
def test_float(value, reward):
    assert reward_kind("float").parse(value) == reward


@pytest.mark.parametrize(
    "value",
    [
        True,
        1,
        1.0,
        "up",
        "UP",
        "thumbs up",
        "Thumbs_Up",
        "yes",
        "👍",
        "👍🏽",
        " good ",
        "1",
    ],
)
def test_thumb_up(value):
    assert reward_kind("thumbs").parse(value) == 1.0


@pytest.mark.parametrize(
    "value", [False, 0, -1, 0.0, "down", "thumbs down", "No", "👎", "👎🏿", "bad", "0"]
)
def test_thumb_down(value):
    assert reward_kind("thumbs").parse(value) == -1.0


@pytest.mark.parametrize("value", ["meh", "", 0.5, 2, [1], {"thumb": "up"}, None])
def test_no_thumb(value):
    with pytest.raises(RecordProblem):
        reward_kind("thumbs").parse(value)


# By hand: 1 to 5 has its middle at 3; 0 to 10 puts 7.5 three quarters up.
@pytest.mark.parametrize(
    ("scale", "mark", "reward"),
    [
        ((1, 5), 1, -1.0),
        ((1, 5), 3, 0.0),
        ((1, 5), 5, 1.0),
        ((0, 10), 7.5, 0.5),
        ((-2, 2), -1, -0.5),
    ],
)
def test_likert(scale, mark, reward):
    assert reward_kind("likert", scale).parse(mark) == reward


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stars",), "'stars' is unknown"),
        (("likert",), "needs likert_range"),
        (("likert", (5, 1)), "not a scale"),
        (("likert", (1, 1)), "not a scale"),
        (("likert", (0, float("inf"))), "not a scale"),
        (("thumbs", (1, 5)), "likert_range has no effect"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ConfigError, match=message):
        reward_kind(*arguments)
