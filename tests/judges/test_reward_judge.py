import numpy as np
import pytest

from dro_jax.errors import ConfigError
from dro_jax.judges.interface import Pair
from dro_jax.judges.reward_judge import RewardJudge
from dro_jax.rewards.interface import Scores


class Length:
    """Characters; rounds as a batch would: by the row's place in it."""

    name, fingerprint = "length", "1"

    def __init__(self):
        self.asked = []

    def __call__(self, prompts, responses):
        self.asked += zip(prompts, responses, strict=True)
        places = 1e-9 * np.arange(len(responses))
        return Scores(np.array([float(len(r)) for r in responses]) + places)


PAIRS = [
    Pair("p", "aaa", "b"),
    Pair("p", "a", "bbb"),
    Pair("p", "aaa", "aaa"),
    Pair("q", "aaaa", "bbb"),
    Pair("q", "aaa", "bbb"),
]


def test_the_higher_score_wins_and_the_margin_ties():
    verdicts = RewardJudge(Length(), margin=1.5)(PAIRS)
    assert verdicts.preferences.tolist() == [1, 0, 0.5, 0.5, 0.5]
    assert verdicts.answered.all()


def test_the_order_of_the_two_makes_no_difference():
    judge = RewardJudge(Length())
    turned = [Pair(p.prompt, p.second, p.first) for p in PAIRS]
    one, other = judge(PAIRS), judge(turned)
    np.testing.assert_array_equal(one.preferences, 1 - other.preferences)
    assert one.preferences[2] == 0.5


def test_a_response_is_scored_once():
    reward = Length()
    RewardJudge(reward)(PAIRS)
    assert len(reward.asked) == len(set(reward.asked)) == 7


def test_no_pairs_have_no_verdicts():
    assert RewardJudge(Length())([]).preferences.shape == (0,)


def test_of_several_rewards_the_first_judges():
    other = Length()
    other.name = "other"
    judge = RewardJudge([other, Length()])
    assert judge.name == "other"


def test_the_fingerprint_is_the_rewards_and_the_margins():
    better = Length()
    better.fingerprint = "2"
    judges = [RewardJudge(Length()), RewardJudge(Length(), 1), RewardJudge(better)]
    assert len({judge.fingerprint for judge in judges}) == 3
    assert RewardJudge(Length(), 1).fingerprint == judges[1].fingerprint


@pytest.mark.parametrize(
    "reward, margin, message",
    [
        (None, 0, "none is given"),
        ([], 0, "none is given"),
        (Length(), -1, "JUDGE_MARGIN"),
        (Length(), float("nan"), "JUDGE_MARGIN"),
    ],
)
def test_what_cannot_judge_is_refused(reward, margin, message):
    with pytest.raises(ConfigError, match=message):
        RewardJudge(reward, margin)
