"""Win rates of made verdicts: counts by hand, intervals by a slow loop."""

import numpy as np
import pytest

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.length_control import length_controlled_win_rate
from dro_jax.evaluation.win_rates import matched, win_rate
from dro_jax.judges.interface import Pair, Verdicts


def response(prompt_id, text, sample=0, prompt="?"):
    return SampledResponse(prompt_id, sample, prompt, text, 1, False, -1.0)


def verdicts(preferences, answered=None):
    preferences = np.array(preferences, float)
    marks = np.ones(len(preferences), bool) if answered is None else np.array(answered)
    return Verdicts(preferences, marks)


def run(texts_by_prompt):
    return [
        response(prompt, text, sample)
        for prompt, texts in texts_by_prompt.items()
        for sample, text in enumerate(texts)
    ]


# Seven pairs on six prompts: the second run answers in another order.
FIRST = run(
    {"a": ["1", "22"], "b": ["3"], "c": ["4"], "d": ["5"], "e": ["6"], "f": [""]}
)
SECOND = run(
    {"f": ["x" * 9], "e": ["y"], "d": ["y"], "c": ["y"], "b": ["y"], "a": ["y", "z"]}
)
SAID = [1.0, 0.0, 1.0, 0.5, 0.5, 1.0, 0.0]
ANSWERED = [True, True, True, True, False, True, True]


def test_responses_meet_by_prompt_and_sample():
    pairs = matched(FIRST, SECOND)
    assert pairs.prompt_ids == ["a", "a", "b", "c", "d", "e", "f"]
    assert pairs.pairs[1] == Pair("?", "22", "z")
    assert pairs.pairs[-1] == Pair("?", "", "x" * 9)


def test_what_has_no_partner_is_left_out():
    first = run({"a": ["1", "2"], "b": ["3"]})
    second = run({"a": ["9"], "c": ["8"]})
    assert matched(first, second).pairs == [Pair("?", "1", "9")]


def test_a_prompt_asked_twice_meets_in_order():
    first = [response("a", "1"), response("a", "2")]
    second = [response("a", "8"), response("a", "9")]
    pairs = matched(first, second).pairs
    assert [pair[1:] for pair in pairs] == [("1", "8"), ("2", "9")]


def test_runs_on_other_prompts_are_refused():
    with pytest.raises(DataError, match="no prompt in common"):
        matched(run({"a": ["1"]}), run({"b": ["1"]}))
    with pytest.raises(DataError, match="no prompt in common"):
        matched([], [])
    with pytest.raises(DataError, match="different texts as prompt a"):
        matched([response("a", "1")], [response("a", "1", prompt="!")])


def test_wins_by_hand():
    found = win_rate("x", "y", "j", matched(FIRST, SECOND), verdicts(SAID, ANSWERED))
    assert (found.first, found.second, found.judge) == ("x", "y", "j")
    assert (found.wins, found.ties, found.losses, found.unanswered) == (3, 1, 2, 1)
    assert found.win_rate.value == pytest.approx((3 + 1 / 2) / 6)
    # Of each prompt that was answered, for who looks at some of them.
    assert found.preferences == {"a": 0.5, "b": 1.0, "c": 0.5, "e": 1.0, "f": 0.0}
    assert "preferences" not in found.told() and found.told()["wins"] == 3


def test_the_interval_draws_prompts_with_their_pairs():
    found = win_rate("x", "y", "j", matched(FIRST, SECOND), verdicts(SAID, ANSWERED))
    of_prompt = [[1.0, 0.0], [1.0], [0.5], [1.0], [0.0]]  # d was not answered
    rng = np.random.default_rng(0)
    rates = [
        np.mean(np.concatenate([of_prompt[g] for g in rng.integers(5, size=5)]))
        for _ in range(2000)
    ]
    low, high = np.quantile(rates, [0.025, 0.975])
    assert (found.win_rate.low, found.win_rate.high) == pytest.approx((low, high))


def test_the_other_way_round_is_the_rest():
    one = win_rate("x", "y", "j", matched(FIRST, SECOND), verdicts(SAID, ANSWERED))
    turned = verdicts([1 - x for x in SAID], ANSWERED)
    other = win_rate("y", "x", "j", matched(SECOND, FIRST), _in_order(turned))
    assert other.win_rate.value == pytest.approx(1 - one.win_rate.value)
    assert (other.wins, other.ties, other.losses) == (2, 1, 3)


def _in_order(turned):
    """Verdicts on FIRST's pairs, in SECOND's order."""
    rows = [6, 5, 4, 3, 2, 0, 1]
    return Verdicts(turned.preferences[rows], turned.answered[rows])


def test_probabilities_count_as_they_are():
    pairs = matched(run({"a": ["1"], "b": ["2"]}), run({"a": ["3"], "b": ["4"]}))
    found = win_rate("x", "y", "j", pairs, verdicts([0.9, 0.4]))
    assert found.win_rate.value == pytest.approx(0.65)
    assert (found.wins, found.ties, found.losses) == (1, 0, 1)


def test_length_control_is_of_characters_and_prompts():
    found = win_rate("x", "y", "j", matched(FIRST, SECOND), verdicts(SAID, ANSWERED))
    assert found.length_controlled == length_controlled_win_rate(
        SAID,
        [0, 1, 0, 0, 0, 0, -9],
        answered=ANSWERED,
        clusters=list("aabcdef"),
    )


def test_all_ties():
    found = win_rate("x", "y", "j", matched(FIRST, SECOND), verdicts([0.5] * 7))
    assert found.win_rate.value == 0.5
    assert (found.win_rate.low, found.win_rate.high, found.ties) == (0.5, 0.5, 7)


def test_one_prompt_has_no_interval():
    pairs = matched(run({"a": ["1"]}), run({"a": ["2"]}))
    found = win_rate("x", "y", "j", pairs, verdicts([1.0]))
    assert found.win_rate.value == 1.0 and found.win_rate.low is None
    assert found.length_controlled is None


def test_no_resamples_no_interval():
    pairs = matched(FIRST, SECOND)
    found = win_rate("x", "y", "j", pairs, verdicts(SAID), num_resamples=0)
    assert found.win_rate.low is None and found.length_controlled.low is None


def test_verdicts_that_say_nothing_are_refused():
    pairs = matched(FIRST, SECOND)
    with pytest.raises(DataError, match="answered for none of 7 pairs of 'x' and 'y'"):
        win_rate("x", "y", "j", pairs, verdicts(SAID, [False] * 7))
    with pytest.raises(DataError, match="on 7 pairs"):
        win_rate("x", "y", "j", pairs, verdicts([1.0]))
