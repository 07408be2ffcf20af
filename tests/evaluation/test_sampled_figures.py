"""Figures as a run logs them: names, KL only where samples estimate it, who wins."""

import dataclasses

import numpy as np
import pytest

from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.sampled_figures import is_of_policy, sampled_figures
from dro_jax.judges.interface import Verdicts
from dro_jax.models.decoding import DecodingConfig

PLAIN = DecodingConfig()
OWN = [
    SampledResponse(
        prompt_id=f"{i:016x}",
        sample=0,
        prompt=f"p{i}",
        response="word " * (i + 1),
        tokens=i + 1,
        cut=i == 0,
        logprob=-1.0 - i,
        reference_logprob=-2.0,
        rewards={"first": float(i), "second": 1.0},
    )
    for i in range(5)
]
# The reference's: worse by the first reward, as good, and three times better.
THEIRS = [
    dataclasses.replace(one, response="x", rewards={"first": gain, "second": 0.0})
    for one, gain in zip(OWN, (-1.0, 1.0, 3.0, 4.0, 5.0), strict=True)
]


class Last:
    """Answers for the last pair alone: the first response is better."""

    name, fingerprint = "last", "last"

    def __call__(self, pairs):
        answered = np.arange(len(pairs)) == len(pairs) - 1
        return Verdicts(np.where(answered, 1.0, 0.5), answered)


def test_figures_have_the_names_of_an_evaluation():
    found = sampled_figures(OWN, [], PLAIN)
    assert found["reward"] == found["reward/first"] == 2.0
    assert found["reward/second"] == 1.0
    assert found["cut"] == 0.2 and found["tokens"] == 3.0
    assert found["kl"] == pytest.approx(np.mean([1, 0, -1, -2, -3]))
    assert found["kl_standard_error"] == pytest.approx(np.sqrt(2.5 / 5))
    assert not any("win_rate" in name for name in found)


def test_the_first_reward_judges_where_no_judge_does():
    found = sampled_figures(OWN, THEIRS, PLAIN)
    assert found["win_rate/first"] == (1 + 0.5) / 5
    assert 0 < found["length_controlled_win_rate/first"] < 1
    unscored = [dataclasses.replace(one, rewards={}) for one in OWN]
    assert not any("win_rate" in n for n in sampled_figures(unscored, unscored, PLAIN))


def test_pairs_without_an_answer_are_left_out():
    found = sampled_figures(OWN, THEIRS, PLAIN, Last())
    assert found["win_rate/last"] == 1.0
    assert "win_rate/first" not in found
    none = sampled_figures(OWN, [], PLAIN, Last())
    assert "win_rate/last" not in none


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.9}, {"beams": 2}]
)
def test_kl_is_of_samples_of_the_policy_itself(changes):
    config = DecodingConfig(**changes)
    assert not is_of_policy(config)
    assert "kl" not in sampled_figures(OWN, THEIRS, config)


def test_filters_that_filter_nothing_do_no_harm():
    assert is_of_policy(DecodingConfig(top_p=1.0))
