import json
import pathlib

import numpy as np
import pytest

from dro_jax.evaluation.length_control import length_controlled_win_rate

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "alpaca_eval"
CASES = json.loads((GOLDEN / "length_controlled.json").read_text("utf-8"))


def arrays(case):
    given = [0.5 if x is None else x for x in case["preferences"]]
    answered = np.array([x is not None for x in case["preferences"]])
    return np.array(given), np.subtract(case["first"], case["second"]), answered


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_win_rates_are_those_of_the_package(case):
    # alpaca-eval 0.6.6, tests/golden/README.md; its solver stops at four digits.
    preferences, differences, answered = arrays(case)
    assert preferences[answered].mean() == pytest.approx(case["win_rate"], abs=1e-12)
    found = length_controlled_win_rate(
        preferences, differences, answered=answered, num_resamples=0
    )
    assert found.value == pytest.approx(case["length_controlled"], abs=1e-4)
    # Seen from the other run it is the rest.
    other = length_controlled_win_rate(
        1 - preferences, -differences, answered=answered, num_resamples=0
    )
    assert other.value == pytest.approx(1 - found.value, abs=1e-9)


def test_the_cases_are_not_all_one():
    rates = {round(case["length_controlled"], 3) for case in CASES}
    assert len(rates) >= 5
    assert any(abs(c["win_rate"] - c["length_controlled"]) > 0.05 for c in CASES)


def test_the_interval_is_near_the_normal_one():
    preferences, differences, _ = arrays(CASES[0])
    preferences, differences = preferences[:100], differences[:100]
    found = length_controlled_win_rate(preferences, differences, num_resamples=300)
    again = length_controlled_win_rate(preferences, differences, num_resamples=300)
    assert found == again
    assert found.low < found.value < found.high
    # A normal interval of an unpenalised fit, by its information matrix.
    terms = np.tanh(differences / differences.std(ddof=1))
    x = np.column_stack([np.ones(100), terms])
    w = np.zeros(2)
    for _ in range(20):
        p = 1 / (1 + np.exp(-x @ w))
        information = x.T @ (x * (p * (1 - p))[:, None])
        w += np.linalg.solve(information, x.T @ (preferences - p))
    half = 1.96 * np.sqrt(np.linalg.inv(information)[0, 0])
    normal = 1 / (1 + np.exp(-(w[0] + np.array([-half, half]))))
    np.testing.assert_allclose([found.low, found.high], normal, atol=0.05)


def test_samples_of_a_prompt_are_drawn_together():
    preferences, differences, _ = arrays(CASES[0])
    preferences, differences = preferences[:60], differences[:60]
    clusters = list(range(60))
    once = length_controlled_win_rate(
        preferences, differences, clusters=clusters, num_resamples=200
    )
    four = [np.repeat(part, 4) for part in (preferences, differences, clusters)]
    copied = length_controlled_win_rate(
        four[0], four[1], clusters=four[2].tolist(), num_resamples=200
    )
    alone = length_controlled_win_rate(four[0], four[1], num_resamples=200)
    width = once.high - once.low
    assert copied.high - copied.low == pytest.approx(width, rel=0.2)
    assert alone.high - alone.low < 0.7 * width


def test_like_lengths_leave_the_win_rate():
    # No length term is left: σ(θ) of a weak penalty is the share won.
    preferences = np.repeat([1.0, 0.0], [300, 100])
    found = length_controlled_win_rate(preferences, np.zeros(400), num_resamples=0)
    assert found.value == pytest.approx(0.75, abs=0.01)


def test_all_ties_are_even():
    found = length_controlled_win_rate(
        np.full(20, 0.5), np.arange(20.0), num_resamples=50
    )
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_all_won_is_finite():
    found = length_controlled_win_rate(np.ones(50), np.arange(50.0), num_resamples=20)
    assert 0.95 < found.low <= found.high <= 1.0


@pytest.mark.parametrize(
    "count, clusters", [(0, None), (4, None), (8, ["a", "a", "b", "b"] * 2)]
)
def test_too_few_prompts_have_none(count, clusters):
    assert length_controlled_win_rate(
        [1.0] * count, [2.0] * count, clusters=clusters
    ) is (None)


@pytest.mark.parametrize(
    "preferences, differences, settings, message",
    [
        ([1.0], [1.0, 2.0], {}, "both must be"),
        ([1.5], [1.0], {}, r"\[0, 1\]"),
        ([float("nan")], [1.0], {}, r"\[0, 1\]"),
        ([1.0], [float("inf")], {}, "finite"),
        ([1.0], [1.0], {"clusters": ["a", "b"]}, "2 clusters"),
    ],
)
def test_unusable_numbers_are_refused(preferences, differences, settings, message):
    with pytest.raises(ValueError, match=message):
        length_controlled_win_rate(preferences, differences, **settings)
