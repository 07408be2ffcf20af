"""Samples and their log-probabilities, whatever the batch and the devices."""

import dataclasses

import jax
import numpy as np
import pytest
import small

from dro_jax.data.prompt_batches import Prompts
from dro_jax.errors import CheckpointError
from dro_jax.evaluation.prompts import Prompt
from dro_jax.evaluation.sampled_figures import sampled_figures
from dro_jax.evaluation.sampled_responses import Policy, sampled_responses
from dro_jax.evaluation.scoring import with_rewards
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROV
from dro_jax.rewards import Distinctness, Length
from dro_jax.training.initialization import smallest_batch
from dro_jax.training.sharding import MeshConfig

ONE, EIGHT = MeshConfig(data=1).build(), MeshConfig().build()
CONFIG = DecodingConfig(max_decode_length=5, num_samples=2, seed=4)
TOKENS = np.random.default_rng(0).integers(2, 40, (6, 4)).astype(np.int32)
PROMPTS = [Prompt(f"prompt {i}", (f"r{i}",), f"{i:016x}") for i in range(6)]
ASKED = Prompts(
    [row[: 2 + i % 3] for i, row in enumerate(TOKENS)],
    np.array([(i, 7 * i) for i in range(6)], np.int32),
)


class Numbers:
    """A vocabulary whose texts are numbers with spaces between."""

    eos_id = 1

    def decode(self, ids):
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def policies():
    value = ValueConfig(trunk=small.NETWORK)
    model = FeedbackModel(network=small.NETWORK, objective=DROV(tau=1.0), value=value)
    made = [model.init(jax.random.key(i), smallest_batch())[0] for i in range(2)]
    return [Policy(model, params) for params in made]


def sampled(policy, reference, size, mesh, **options):
    policy, reference = (
        own and Policy(own.model, jax.device_put(own.params, mesh.replicated))
        for own in (policy, reference)
    )
    found = sampled_responses(
        policy, reference, PROMPTS, ASKED, Numbers(), CONFIG, mesh,
        longest=4, batch_size=size, **options,
    )  # fmt: skip
    responses = [response for part in found for response in part]
    return sorted(responses, key=lambda one: (one.prompt_id, one.sample))


@pytest.fixture(scope="module")
def layouts(policies):
    """The same samples in batches of 8 and of 4, and on eight devices."""
    return [
        sampled(*policies, size, mesh, value=True)
        for size, mesh in ((8, ONE), (4, ONE), (8, EIGHT))
    ]


def test_nothing_depends_on_the_batch_or_the_devices(layouts):
    """Texts exactly; log-probabilities and values up to float32's rounding."""
    whole, *others = layouts
    assert [(one.prompt, one.sample) for one in whole] == [
        (prompt.text, sample) for prompt in PROMPTS for sample in (0, 1)
    ]
    assert [one.references for one in whole[::2]] == [(f"r{i}",) for i in range(6)]
    assert len({one.response for one in whole}) > 6
    for found in others:
        numbers = ("logprob", "reference_logprob", "value")
        for one, other in zip(found, whole, strict=True):
            for name in numbers:
                expected = getattr(other, name)
                assert getattr(one, name) == pytest.approx(expected, abs=1e-4)
            same = {name: getattr(other, name) for name in numbers}
            assert dataclasses.replace(one, **same) == other


def test_figures_do_not_depend_on_them_either(layouts):
    """Of texts and programs' rewards in every digit; of log-probabilities nearly."""
    whole, *others = (
        with_rewards(found, [Length(target=3.0), Distinctness()]) for found in layouts
    )
    expected = sampled_figures(whole, whole, CONFIG)
    of_networks = {n for n in expected if n.startswith(("kl", "value/"))}
    assert {"reward/length/length", "distinct_2", "cut"} < set(expected) - of_networks
    assert expected["win_rate/length"] == 0.5
    for found in others:
        figures = sampled_figures(found, whole, CONFIG)
        assert figures.keys() == expected.keys()
        for name, value in figures.items():
            if name in of_networks:
                assert value == pytest.approx(expected[name], abs=1e-3)
            else:
                assert value == expected[name], name


def test_lengths_and_what_was_cut(policies):
    found = sampled(*policies, 8, ONE)
    for one in found:
        words = one.response.split()
        assert one.tokens == len(words) + (not one.cut)
        assert one.cut == (len(words) == 5)
    assert any(one.cut for one in found)


def test_a_reference_is_the_policy_itself_or_nobody(policies):
    policy, _ = policies
    placed = Policy(policy.model, jax.device_put(policy.params, ONE.replicated))
    of_itself = sampled_responses(
        placed, placed, PROMPTS, ASKED, Numbers(), CONFIG, ONE, longest=4, batch_size=8
    )
    for one in (response for part in of_itself for response in part):
        assert one.reference_logprob == one.logprob
        assert one.value is None
    for one in sampled(policy, None, 8, ONE):
        assert one.reference_logprob is None


def test_a_policy_of_nan_is_refused(policies):
    policy, _ = policies
    broken = jax.tree.map(lambda x: x * np.float32("nan"), policy.params)
    with pytest.raises(CheckpointError, match="the model computes NaN"):
        sampled(Policy(policy.model, broken), None, 8, ONE)

