import numpy as np
import pytest

from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.scoring import with_rewards
from dro_jax.rewards.interface import Scores
from dro_jax.rewards.task_reward import FunctionReward

RESPONSES = [
    SampledResponse("0" * 16, i, "p", text, tokens=2, cut=False, logprob=-1.0)
    for i, text in enumerate(("a", "b b"))
]


class Words:
    def __init__(self, name, fingerprint="1"):
        self.name, self.fingerprint = name, fingerprint

    def __call__(self, prompts, responses):
        words = np.array([float(len(text.split())) for text in responses])
        return Scores(2 * words, {"words": words})


def satisfaction(prompt, response):
    return float(response == "a") if prompt == "p" else -1.0


def test_responses_get_totals_and_parts():
    found = with_rewards(RESPONSES, [Words("long"), FunctionReward(satisfaction)])
    assert [dict(one.rewards) for one in found] == [
        {"long": 2.0, "true_reward": 1.0}, {"long": 4.0, "true_reward": 0.0}
    ]  # fmt: skip
    assert found[1].reward_parts == {"long": {"words": 2.0}}
    assert [one.response for one in found] == ["a", "b b"]


def test_other_rewards_stay_behind_those_asked_for():
    before = with_rewards(RESPONSES, [Words("one"), Words("two")])
    found = with_rewards(before, [Words("three"), Words("two")])
    assert list(found[0].rewards) == ["three", "two", "one"]
    assert set(found[0].reward_parts) == {"one", "two", "three"}


def test_what_cannot_be_told_apart_or_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="called long, long"):
        with_rewards(RESPONSES, [Words("long"), Words("long")])
    with pytest.raises(DataError, match="nan for 'total' of response 0"):
        with_rewards(RESPONSES, [FunctionReward(lambda *_: float("nan"))])

