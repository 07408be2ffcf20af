from dro_jax.evaluation import comparison_table
from dro_jax.evaluation.evaluated_run import (
    Estimate,
    EvaluatedRun,
    SampledResponse,
    WinRate,
)
from dro_jax.evaluation.reward_difference import RewardDifference


def run(label, text, true_reward, **figures):
    response = SampledResponse(
        "0" * 16, 0, "the\nprompt", text, 2, cut=False, logprob=-1.0,
        rewards={"true_reward": true_reward},
    )  # fmt: skip
    return EvaluatedRun(label, {}, (response,), figures)


BEFORE = run("before", "x", 0.25, reward=Estimate(0.25, 0.2, 0.3), kl=Estimate(0.0))
AFTER = run("after", " ", 0.75, reward=Estimate(0.75), cut=Estimate(0.5))


def test_a_row_a_figure_and_a_column_a_run():
    assert comparison_table.table([BEFORE, AFTER]).splitlines() == [
        "                           before                  after",
        "reward ↑                   0.250 (0.200 to 0.300)  0.750",
        "KL to the reference, nats  0.00",
        "cut ↓                                              50.0%",
    ]


def test_what_is_missing_is_said_once():
    omitted = {"omitted": {"kl": "no reference"}}
    runs = [EvaluatedRun(name, {}, (), {}, omitted) for name in ("one", "two")]
    last = comparison_table.table(runs).splitlines()[-1]
    assert last == "no KL to the reference for one, two: no reference"


def test_examples_show_each_run_s_answer_with_its_reward():
    assert comparison_table.examples([BEFORE, AFTER]).splitlines() == [
        "prompt  the prompt",
        "before  x   [0.25]",
        "after   (empty)   [0.75]",
    ]


def test_strengths_stand_beside_three_runs_that_all_met():
    found = [
        WinRate("b", "a", "words", Estimate(0.5), 1, 0, 1),
        WinRate("c", "a", "words", Estimate(0.5), 1, 0, 1),
        WinRate("c", "b", "words", Estimate(1.0), 2, 0, 0),
    ]
    # With a tie more in each: c won 1.5 and 2.5 of 3, 4 = 3·σ(s) + 3·σ(2s).
    lines = comparison_table.win_rates(found, ["a", "b", "c"]).splitlines()
    assert [line.split()[-1] for line in lines] == [
        "strength",
        "+0.00",
        "-0.47",
        "+0.47",
    ]


def test_differences_in_reward_are_told_with_their_chance():
    found = [
        RewardDifference("b", "a", "r", Estimate(0.5, 0.25, 0.75), 0.01, 9),
        RewardDifference("c", "a", "r", Estimate(-0.5), None, 1),
    ]
    assert comparison_table.reward_differences(found).splitlines() == [
        "difference in reward                          p",
        "b less a              0.500 (0.250 to 0.750)  0.0100",
        "c less a              -0.500",
    ]


def test_the_matrix_shows_a_pair_from_both_sides():
    found = [
        WinRate("a", "b", "words", Estimate(0.75, 0.5, 1.0), 3, 0, 1),
        WinRate("a", "c", "words", Estimate(0.5), 1, 2, 1, unanswered=2),
    ]
    assert comparison_table.win_rates(found, ["a", "b", "c"]).splitlines() == [
        "win rate, by words  against a              against b                against c",
        "a                                          75.0% (50.0% to 100.0%)  50.0%",
        "b                   25.0% (0.0% to 50.0%)",
        "c                   50.0%",
        "2 pairs without an answer",
    ]
