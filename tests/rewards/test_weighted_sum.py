import pytest

from dro_jax.errors import ConfigError
from dro_jax.rewards import Format, Length, Pattern, WeightedSum


def test_weights_and_given_means_and_deviations():
    reward = WeightedSum(
        [Length(target=2), Pattern("!", count=True)],
        weights=[1.0, -0.5],
        means=[-1.0, 1.0],
        stds=[2.0, 0.5],
    )
    found = reward(["", "", ""], ["a b", "a!", "a b c !!"])
    # By hand: ((0, -1, -2) + 1) / 2 - 0.5 ((0, 1, 2) - 1) / 0.5
    assert found.total.tolist() == [0.5 + 1, 0 - 0, -0.5 - 1]
    assert {name: part.tolist() for name, part in found.parts.items()} == {
        "length": [0, -1, -2],
        "length/length": [2, 1, 4],
        "pattern": [0, 1, 2],
    }


def test_a_response_has_the_same_reward_whatever_stands_beside_it():
    reward = WeightedSum([Length(), Format(ends_whole=True)], [0.3, 0.7])
    texts = ["a.", "b c", "d e f."]
    together = reward([""] * 3, texts).total.tolist()
    assert together == [reward([""], [text]).total[0] for text in texts]


def test_fingerprints_follow_members_and_numbers():
    members = [Length(), Pattern("a")]
    made = [
        WeightedSum(members, [1, 2]),
        WeightedSum(members, [2, 1]),
        WeightedSum([Length(), Pattern("b")], [1, 2]),
        WeightedSum(members, [1, 2], means=[0, 1]),
        WeightedSum(members, [1, 2], names=["x", "y"]),
    ]
    assert len({reward.fingerprint for reward in made}) == len(made)
    assert WeightedSum(members, [1.0, 2.0]).fingerprint == made[0].fingerprint


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"rewards": [], "weights": []}, "at least one"),
        ({"weights": [1]}, "2 rewards and 1 weights"),
        ({"rewards": [Length(), Length()]}, "two rewards called 'length'"),
        ({"stds": [1, 0]}, "above 0"),
        ({"weights": [1, float("inf")]}, "finite"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    given = {"rewards": [Length(), Pattern("a")], "weights": [1, 1]} | settings
    with pytest.raises(ConfigError, match=message):
        WeightedSum(**given)
