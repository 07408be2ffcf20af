import numpy as np
import pytest

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.different_prompts import different_prompts
from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.sample_rewards import SampleRewards, reward_facts
from dro_jax.rewards.interface import Scores

LENGTHS = {"inputs": 6, "targets": 8}
ONE = [("where?", "a", 1.0), ("why", "b", 3.0), ("where?", "c", 5.0)]
TWO = [("how so, then", "d", 0.0), ("why", "e", 1.0), ("how so, then", "f", 2.0)]


def recorded(triples):
    return [{"prompt": p, "response": y, "reward": r} for p, y, r in triples]


def counted(prompt, response):
    return float(len(response))


@pytest.fixture
def mixed(register, mixture):
    """Two tasks that share a prompt; the second one's rewards are normalised."""
    one = register(recorded(ONE), reward_fn=counted, reward_transform="clip(0, 4)")
    two = register(recorded(TWO), reward_fn=counted, reward_transform="normalize")
    mixture(name := f"of_{one.name}_{two.name}", [(one.name, 1), (two.name, 2)])
    return DatasetConfig(name, LENGTHS), one, two


def test_each_prompt_comes_once_with_its_first_record(mixed):
    dataset, one, two = mixed
    prompts = different_prompts(dataset)
    records = dataset.prompt_records()
    assert len(prompts) == records.num_prompts == 3
    assert prompts.texts(np.arange(3)) == ["where?", "why", "how so, then"]
    assert prompts.texts(np.array([2, 0])) == ["how so, then", "where?"]
    assert prompts.positions.tolist() == [0, 1, 3]
    identities = [dataset.identity(own) for own in prompts.record_ids]
    assert identities == [one.identity(0), one.identity(1), two.identity(0)]
    np.testing.assert_array_equal(prompts.hashes, records.prompts[[0, 1, 3]])
    owners = {task.name: own.tolist() for task, own in prompts.by_task(np.arange(3))}
    assert owners == {one.name: [0, 1], two.name: [2]}


def test_tokens_are_those_that_the_model_reads(mixed):
    dataset, *_ = mixed
    prompts = different_prompts(dataset)
    rows = {}
    for batch in dataset.one_pass().batches():
        for tokens, own in zip(
            batch["encoder_input_tokens"], batch["record_ids"][:, 0], strict=True
        ):
            rows[tuple(own.tolist())] = tokens[tokens != 0].tolist()
    expected = [rows[tuple(own)] for own in prompts.record_ids.tolist()]
    assert [list(tokens) for tokens in prompts.tokens] == expected
    assert prompts.lengths.tolist() == [6, 4, 6]  # the first and the last are cut
    backwards = prompts.at(np.array([2, 1]))
    assert [list(tokens) for tokens in backwards.tokens] == expected[:0:-1]
    np.testing.assert_array_equal(backwards.record_ids, prompts.record_ids[:0:-1])
    plan = prompts.plan(2, LENGTHS["inputs"])
    assert [batch.places.tolist() for batch in plan] == [[0, 2], [1]]


def test_rewards_of_samples_are_on_the_scale_of_training(mixed):
    """Those of a recorded text are what training reads of its record."""
    dataset, *_ = mixed
    prompts = different_prompts(dataset)
    rewards = SampleRewards(prompts, None)
    places, texts = np.array([2, 0, 2, 1]), ["xx", "12345", "", "abc"]
    # Of rewards 0, 1, 2 the mean is 1, the variance 2/3.
    deviation = np.sqrt(2 / 3)
    np.testing.assert_allclose(
        rewards(places, texts), [1 / deviation, 4.0, -1 / deviation, 3.0], rtol=1e-6
    )
    scored = rewards(np.array([2]), ["xx"])
    # The last record's reward is 2 too.
    np.testing.assert_array_equal(scored, dataset.prompt_records().rewards[-1:])
    assert rewards(places, texts).dtype == np.float32


class Given:
    name, fingerprint = "given", "numbers"

    def __init__(self, number):
        self.number = number

    def __call__(self, prompts, responses):
        return Scores(np.full(len(responses), self.number))


def test_another_reward_stands_in_for_programs(mixed):
    prompts = different_prompts(mixed[0])
    rewards = SampleRewards(prompts, Given(9.0))
    np.testing.assert_array_equal(rewards(np.array([0, 1]), ["", "a"]), [4.0, 4.0])
    with pytest.raises(DataError, match="reward 'given': a reward gave nan"):
        SampleRewards(prompts, Given(np.nan))(np.array([0]), [""])


def test_a_task_without_a_program_needs_a_reward(register):
    task = register(recorded(ONE))
    prompts = different_prompts(DatasetConfig(task.name, LENGTHS))
    with pytest.raises(ConfigError, match="no program knows .* set REWARD"):
        SampleRewards(prompts, None)
    SampleRewards(prompts, Given(1.0))


def test_facts_tell_rewards_and_transforms_apart(register):
    def facts(reward=None, rewards=(0.0, 1.0), **settings):
        records = recorded([(*ONE[i][:2], own) for i, own in enumerate(rewards)])
        task = register(records, **{"reward_fn": counted} | settings)
        return tuple(reward_facts([task], reward).values())

    plain = facts()
    assert facts(rewards=(3.0, 4.0)) == plain  # nothing is fitted to them
    assert facts(Given(1.0)) == ("numbers", plain[1])
    others = [
        facts(reward_transform="clip(0, 4)"),
        facts(reward_transform="clip(0, 5)"),
        facts(reward_transform="normalize"),
        facts(reward_transform="normalize", rewards=(0.0, 2.0)),
    ]
    assert len({plain, *others}) == 5
    assert {own[0] for own in others} == {plain[0]}
