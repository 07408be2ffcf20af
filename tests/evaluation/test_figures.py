"""Figures of made responses: every number by hand, or by a slow loop."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate, SampledResponse
from dro_jax.evaluation.figures import (
    FIGURES,
    figure,
    figures_of,
    in_table_order,
    shown,
)
from dro_jax.evaluation.self_bleu import self_bleu


def response(prompt_id: str, text: str, **fields) -> SampledResponse:
    given = {"sample": 0, "prompt": "p", "tokens": 4, "cut": False, "logprob": -2.0}
    return SampledResponse(prompt_id=prompt_id, response=text, **(given | fields))


# Two samples of prompt a, one of b and c.
RESPONSES = (
    response(
        "a", "it is so", rewards={"help": 1.0, "short": 0.0}, tokens=4,
        reward_parts={"help": {"tone": 3.0}}, reference_logprob=-2.5,
    ),
    response(
        "a", "it is", rewards={"help": 2.0, "short": 1.0}, tokens=6, sample=1, cut=True,
        reward_parts={"help": {"tone": 5.0}}, reference_logprob=-4.0,
    ),
    response(
        "b", " ", rewards={"help": 3.0, "short": 0.0}, tokens=1,
        reward_parts={"help": {"tone": 0.0}}, reference_logprob=-1.0,
    ),
    response(
        "c", "no", rewards={"help": 6.0, "short": 1.0}, tokens=2,
        reward_parts={"help": {"tone": 0.0}}, reference_logprob=-2.0,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def figures():
    return figures_of(RESPONSES, sampled_from_policy=True)[0]


@pytest.mark.parametrize(
    "name, value",
    [
        ("reward", 3.0),  # the first reward: (1 + 2 + 3 + 6) / 4
        ("reward/help", 3.0),
        ("reward/short", 0.5),
        ("reward/help/tone", 2.0),  # (3 + 5 + 0 + 0) / 4
        ("kl", 0.375),  # (0.5 + 2 - 1 + 0) / 4
        ("length", 1.5),  # (3 + 2 + 0 + 1) / 4
        ("tokens", 3.25),
        ("cut", 0.25),
        ("empty", 0.25),
        ("distinct_1", 4 / 6),  # it is so no, of it is so it is no
        ("distinct_2", 2 / 3),  # it-is is-so, of it-is is-so it-is
        ("distinct_3", 1.0),
    ],
)
def test_figures_by_hand(figures, name, value):
    assert figures[name].value == pytest.approx(value, abs=1e-15)


def test_standard_errors_are_over_prompts(figures):
    # Rewards less their mean 3: a -2 -1, b 0, c 3. Sums over prompts -3, 0, 3.
    # sqrt(3/2 · (9 + 0 + 9)) / 4.
    assert figures["reward"].standard_error == pytest.approx(27**0.5 / 4)
    # Log-ratios less 0.375: a 0.125 + 1.625, b -1.375, c -0.375.
    squares = 1.75**2 + 1.375**2 + 0.375**2
    assert figures["kl"].standard_error == pytest.approx((1.5 * squares) ** 0.5 / 4)


def test_intervals_draw_whole_prompts(figures):
    # The same draws in a slow loop.
    rng = np.random.default_rng(0)
    of_prompt = [[1.0, 2.0], [3.0], [6.0]]
    means = [
        np.mean(np.concatenate([of_prompt[g] for g in rng.integers(3, size=3)]))
        for _ in range(2000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    assert (figures["reward"].low, figures["reward"].high) == pytest.approx((low, high))


def test_seed_and_resamples_change_intervals_alone(figures):
    again = figures_of(RESPONSES, sampled_from_policy=True)[0]
    assert again == figures
    other = figures_of(RESPONSES, sampled_from_policy=True, seed=1)[0]
    assert other["kl"].value == figures["kl"].value
    none, _ = figures_of(RESPONSES, sampled_from_policy=True, num_resamples=0)
    assert none["kl"] == dataclasses.replace(figures["kl"], low=None, high=None)


def test_one_prompt_has_no_interval():
    figures, _ = figures_of(RESPONSES[:2], sampled_from_policy=True)
    assert figures["reward"] == Estimate(1.5)


def test_kl_is_of_samples_of_the_policy_only():
    figures, tables = figures_of(RESPONSES, sampled_from_policy=False)
    assert "kl" not in figures
    assert "temperature 1" in tables["omitted"]["kl"]


def test_without_a_reference_there_is_no_kl():
    half = [*RESPONSES[:3], response("d", "yes", rewards=RESPONSES[3].rewards,
                                     reward_parts=RESPONSES[3].reward_parts)]  # fmt: skip
    figures, tables = figures_of(half, sampled_from_policy=True)
    assert "kl" not in figures
    assert tables["omitted"]["kl"].startswith("1 of 4 responses")


def test_responses_without_rewards_are_measured():
    figures, _ = figures_of([response("a", "x y")], sampled_from_policy=True)
    assert "reward" not in figures and figures["length"].value == 2.0


def test_unusable_responses_are_refused():
    with pytest.raises(DataError, match="nothing to measure"):
        figures_of([], sampled_from_policy=True)
    with pytest.raises(
        DataError, match="different rewards.*prompt a.*none for prompt d"
    ):
        figures_of([*RESPONSES, response("d", "x")], sampled_from_policy=True)
    broken = response("d", "x", logprob=float("nan"), reference_logprob=0.0)
    with pytest.raises(DataError, match="'kl' of a response to prompt d is nan"):
        figures_of([broken], sampled_from_policy=True)


def with_values():
    values = [0.5, 0.5, 2.0, 7.0]
    return [
        dataclasses.replace(one, value=value)
        for one, value in zip(RESPONSES, values, strict=True)
    ]


def test_values_are_held_against_the_first_reward():
    # Rewards 1 2 3 6 have variance 3.5; V is 0.5 0.5 2 7.
    figures, tables = figures_of(with_values(), sampled_from_policy=True)
    assert figures["value/bias"].value == pytest.approx(-0.5)
    assert figures["value/explained_variance"].value == pytest.approx(
        1 - np.var([0.5, 1.5, 1, -1]) / 3.5
    )
    assert figures["value/correlation"].value == pytest.approx(
        np.corrcoef([0.5, 0.5, 2, 7], [1, 2, 3, 6])[0, 1]
    )
    assert figures["value/correlation"].low <= figures["value/correlation"].value
    assert sum(row["count"] for row in tables["value_calibration"]) == 4


def test_values_of_some_responses_are_not_held_against_rewards():
    some = [*with_values()[:3], RESPONSES[3]]
    figures, tables = figures_of(some, sampled_from_policy=True)
    assert not any(name.startswith("value/") for name in figures)
    assert tables["omitted"]["value"].startswith("1 of 4")
    _, tables = figures_of(RESPONSES, sampled_from_policy=True)
    assert "value" not in tables["omitted"] and "value_calibration" not in tables


def test_a_constant_reward_explains_nothing():
    same = [dataclasses.replace(x, rewards={"r": 1.0}, reward_parts={}) for x in
            with_values()]  # fmt: skip
    figures, tables = figures_of(same, sampled_from_policy=True)
    assert {"value/explained_variance", "value/correlation"} <= tables["omitted"].keys()
    assert "value/bias" in figures


def test_self_bleu_needs_two_texts(figures):
    # "it is so" and "it is", "no" alone: see test_self_bleu.
    assert figures["self_bleu"].value == pytest.approx(
        self_bleu(["it is so", "it is", "no"])
    )
    figures, tables = figures_of(RESPONSES[2:], sampled_from_policy=True)
    assert "self_bleu" not in figures
    assert tables["omitted"]["self_bleu"] == "fewer than two responses have words"


def test_references_are_compared_with():
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    logged = [
        dataclasses.replace(one, response=text, references=references)
        for one, text, references in zip(
            RESPONSES,
            ["it is so very so", "it is so", "", "no"],
            [("it is so very good",), ("it was so", "so"), ("yes",), ()],
            strict=True,
        )
    ]
    figures, tables = figures_of(logged, sampled_from_policy=True)
    assert tables["with_references"] == 3
    # 4/5 and 2/3 of words in order, and nothing: of prompts a, a and b.
    assert figures["rouge_l"].value == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    # Found of there: 4 + 2 of 8, 3 + 0 of 6, 2 of 4, 1 of 2; 8 tokens against 9.
    bleu = 100 * np.exp(1 - 9 / 8) * (6 / 8 * 3 / 6 * 2 / 4 * 1 / 2) ** 0.25
    assert figures["bleu"].value == pytest.approx(bleu)
    assert figures["bleu"].low == 0.0 and figures["bleu"].high > bleu


def test_without_the_packages_the_reason_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    logged = [dataclasses.replace(RESPONSES[0], references=("it",))]
    figures, tables = figures_of(logged, sampled_from_policy=True)
    assert "bleu" not in figures and "rouge_l" not in figures
    assert "dro-jax[metrics]" in tables["omitted"]["bleu"]
    assert "rouge-score" in tables["omitted"]["rouge_l"]


def test_tables_are_json():
    _, tables = figures_of(with_values(), sampled_from_policy=False)
    assert json.loads(json.dumps(tables)) == tables


def test_figures_come_in_the_order_of_the_table(figures):
    assert list(figures)[:4] == ["reward", "reward/help", "reward/short",
                                 "reward/help/tone"]  # fmt: skip
    assert in_table_order(["unknown", "cut", "reward/x", "reward"]) == [
        "reward", "reward/x", "cut", "unknown",
    ]  # fmt: skip


def test_every_figure_is_in_the_table(figures):
    assert all(figure(name).meaning for name in figures)


def test_names_of_the_users_own_are_put_into_titles():
    row = figure("reward/help/tone")
    assert (row.title, row.higher_is_better) == ("help: tone", True)
    assert figure("reward/a/b/c").title == "a: b/c"
    assert figure("win_rate/a/b").title == "win rate (a/b)"
    assert figure("mine").title == "mine" and figure("mine").meaning == ""


def test_the_table_is_sound():
    assert len({row.name for row in FIGURES}) == len(FIGURES)
    for row in FIGURES:
        assert row.meaning.endswith(".") and format(0.5, row.format)


def test_figures_as_text():
    assert shown("cut", Estimate(0.25)) == "25.0%"
    assert shown("reward", Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"
