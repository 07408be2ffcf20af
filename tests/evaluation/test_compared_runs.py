import dataclasses

import numpy as np
import pytest

from dro_jax.errors import ConfigError
from dro_jax.evaluation import compared_runs
from dro_jax.evaluation.compared_runs import KnownScores
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, SampledResponse
from dro_jax.judges.interface import Verdicts
from dro_jax.judges.reward_judge import RewardJudge
from dro_jax.rewards.interface import Scores


def run(label, *texts):
    responses = tuple(
        SampledResponse(
            f"{i:016x}", 0, f"p{i}", text, 2, cut=False, logprob=-1.0,
            rewards={"long": float(len(text))},
        )
        for i, text in enumerate(texts)
    )  # fmt: skip
    settings = {"reference": {"label": "start"}}
    return EvaluatedRun(label, settings, responses, {"reward": Estimate(1.0)})


RUNS = [
    run("start", "aa", "aa", "aa"),
    run("one", "a", "aaa", "aaa"),
    run("two", "", "", "aa"),
]


class Shorter:
    """Prefers the shorter, and has been asked so often."""

    name, fingerprint = "shorter", "1"

    def __init__(self):
        self.calls = []

    def __call__(self, pairs):
        self.calls.append(len(pairs))
        gains = [len(pair.second) - len(pair.first) for pair in pairs]
        preferences = (np.sign(gains) + 1) / 2
        return Verdicts(preferences, np.array([bool(pair.first) for pair in pairs]))


class Long:
    name, fingerprint = "long", "2"

    def __call__(self, prompts, responses):
        raise AssertionError("everything is known")


def test_all_pairs_are_asked_at_once_and_counted():
    judge = Shorter()
    known = KnownScores(Long(), RUNS)
    found = compared_runs.compared(RUNS, [judge, RewardJudge(known)])
    assert judge.calls == [9]
    assert [(one.first, one.second, one.judge) for one in found[:3]] == [
        ("one", "start", "shorter"), ("two", "start", "shorter"), ("two", "one", "shorter")
    ]  # fmt: skip
    counts = [(x.wins, x.ties, x.losses, x.unanswered) for x in found]
    assert counts[:3] == [(1, 0, 2, 0), (0, 1, 0, 2), (1, 0, 0, 2)]
    assert counts[3:] == [(2, 0, 1, 0), (0, 1, 2, 0), (0, 0, 3, 0)]
    assert found[0].win_rate.value == pytest.approx(1 / 3)
    assert found[4].win_rate.value == pytest.approx(1 / 6)
    assert compared_runs.compared(RUNS[:1], [judge]) == []
    start, one, two = RUNS
    some = compared_runs.compared(RUNS, [judge], couples=[(two, start), (one, start)])
    assert some == [found[1], found[0]] and judge.calls == [9, 6]
    assert compared_runs.compared(RUNS, [judge], couples=[]) == []


def test_scores_of_texts_that_no_run_gave_are_asked_for():
    asked = []

    class Counting(Long):
        def __call__(self, prompts, responses):
            asked.extend(zip(prompts, responses, strict=True))
            return Scores(np.array([7.0] * len(prompts)))

    known = KnownScores(Counting(), RUNS[:1])
    assert known(["p0", "p0"], ["aa", "new"]).total.tolist() == [2.0, 7.0]
    assert asked == [("p0", "new")]


def test_win_rates_are_kept_and_those_against_the_reference_are_figures(tmp_path):
    start, one, _ = RUNS
    one.write(tmp_path)
    found = compared_runs.compared(RUNS, [Shorter()])
    result = compared_runs.keep(tmp_path, one, found)
    assert result.figures["win_rate/shorter"] == found[0].win_rate
    assert EvaluatedRun.read(tmp_path) == result
    assert compared_runs.kept(tmp_path) == found[:1]
    # Another judge's stand beside, the same judge's are replaced.
    more = compared_runs.compared(RUNS[:2], [RewardJudge(KnownScores(Long(), RUNS))])
    again = compared_runs.keep(tmp_path, one, more)
    assert {"win_rate/shorter", "win_rate/long"} <= set(again.figures)
    assert compared_runs.keep(tmp_path, one, found) == again
    assert len(compared_runs.kept(tmp_path)) == 2
    compared_runs.forget(tmp_path)
    assert compared_runs.keep(tmp_path, one, []) == one
    assert compared_runs.keep(tmp_path, start, found) == start


def test_runs_that_a_judge_did_not_see_have_no_win_rate(capsys):
    class People:
        name, fingerprint = "people", "3"

        def __call__(self, pairs):
            saw = np.array(["" in pair[1:] for pair in pairs])
            return Verdicts(np.full(len(pairs), 0.5), saw)

    found = compared_runs.compared(RUNS, [People()])
    assert [(one.first, one.second) for one in found] == [
        ("two", "start"),
        ("two", "one"),
    ]
    assert "people answered for no pair of one and start" in capsys.readouterr().err


def test_two_judges_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="shorter, shorter: give each a name"):
        compared_runs.compared(RUNS, [Shorter(), Shorter()])


def test_a_kept_win_rate_is_of_the_texts_that_were_compared(tmp_path):
    start, one, _ = RUNS
    compared_runs.keep(tmp_path, one, compared_runs.compared([start, one], [Shorter()]))
    (found,) = compared_runs.kept(tmp_path)
    assert compared_runs.are_of(found, one, start)
    # Another run of that label, or the same one sampled anew.
    assert not compared_runs.are_of(found, one, run("start", "aa", "aa", "b"))
    assert not compared_runs.are_of(found, run("one", "a", "", "aaa"), start)
    assert not compared_runs.are_of(found, one, run("start"))
    older = dataclasses.replace(found, pairs_digest=None)
    assert compared_runs.are_of(older, one, run("start", "b", "b", "b"))
