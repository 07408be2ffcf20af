"""Samples with rewards: the same in whatever batch, other ones in each round."""

import dataclasses

import jax
import numpy as np
import pytest
import small

from dro_jax.batch_fields import device_fields
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.different_prompts import different_prompts
from dro_jax.errors import ConfigError
from dro_jax.evaluation.generation import response_text
from dro_jax.evaluation.sample_rewards import SampleRewards
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training.scored_samples import scored_samples
from dro_jax.training.sharding import MeshConfig

NETWORK = dataclasses.replace(small.NETWORK, vocab_size=256)
TRAIN = DatasetConfig(
    mixture_or_task_name="support_desk",
    module="dro_jax.tasks.support_desk.task",
    task_feature_lengths={"inputs": 12, "targets": 8},
)
PLACES, SAMPLES = np.array([3, 0, 9, 4]), 2


@pytest.fixture(scope="module")
def sample():
    """Samples four prompts of the quickstart, in batches of some size."""
    model = FeedbackModel(network=NETWORK, objective=NLL())
    mesh = MeshConfig(data=1).build()
    params = small.init(model, device_fields(next(iter(TRAIN.batches()))))
    params = jax.device_put(params, mesh.replicated)
    prompts = different_prompts(TRAIN)
    config = DecodingConfig(max_decode_length=8, num_samples=SAMPLES)

    def run(batch_size=4, config=config, **settings):
        plan = [
            batch
            for batch in prompts.plan(batch_size, 12)
            if np.isin(batch.places, PLACES).any()
        ]
        found = {}
        for batch in scored_samples(
            model,
            params,
            prompts,
            plan,
            config,
            SampleRewards(prompts, None),
            mesh,
            TRAIN.vocabulary,
            batch_size=batch_size,
            **settings,
        ):
            for place, *own in zip(*batch, strict=True):
                found[int(place)] = own
        return [found[place] for place in PLACES.tolist()]

    run.prompts = prompts
    return run


def test_rewards_are_those_of_the_task_for_the_texts(sample):
    (task,) = TRAIN.tasks()
    texts = sample.prompts.texts(PLACES)
    for prompt, own in zip(texts, sample(), strict=True):
        tokens, lengths, logprobs, rewards = own
        answers = [response_text(TRAIN.vocabulary, row) for row in tokens]
        expected = np.array([task.reward_fn(prompt, answer) for answer in answers])
        np.testing.assert_array_equal(rewards, task.source.on_training_scale(expected))
        assert ((tokens != 0).sum(1) == lengths).all() and (logprobs < 0).all()
        assert rewards.shape == (SAMPLES,) and rewards.dtype == np.float32


def test_a_round_has_samples_of_its_own_whatever_the_batch(sample):
    tokens = [
        np.array([own[0] for own in sample(**settings)])
        for settings in (
            {},
            {"sampled_round": 1},
            {"sampled_round": 1, "batch_size": 2},
            {"sampled_round": 2},
        )
    ]
    assert (tokens[0] != tokens[1]).any()
    np.testing.assert_array_equal(tokens[1], tokens[2])
    assert (tokens[1] != tokens[3]).any()


def test_a_beam_search_is_refused(sample):
    with pytest.raises(ConfigError, match="beams"):
        sample(config=DecodingConfig(max_decode_length=8, beams=2))
