import jax
import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.data.prompt_batches import Prompts
from dro_jax.errors import CheckpointError
from dro_jax.evaluation.sampled_prompts import sample_prompts
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training.mesh_steps import device_fields
from dro_jax.training.sharding import MeshConfig

EOS = 1
LONGEST = 48
_rng = np.random.default_rng(0)
PROMPTS = Prompts(
    [
        [*_rng.integers(2, 40, length).tolist(), EOS]
        for length in _rng.integers(0, LONGEST - 1, 21)
    ],
    _rng.integers(-(2**31), 2**31, (21, 2)).astype(np.int32),
)
MESHES = {1: MeshConfig(data=1), 8: MeshConfig()}


@pytest.fixture(scope="module")
def policy():
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    batch = next(iter(ArrayDataset(num_records=8, num_epochs=1).batches()))
    return model, small.init(model, device_fields(batch))


def sampled(policy, *, prompts=PROMPTS, devices=1, batch_size=8, **settings):
    config = DecodingConfig(**{"max_decode_length": 6, "num_samples": 2} | settings)
    mesh = MESHES[devices].build()
    model, params = policy
    params = jax.device_put(params, mesh.replicated)
    return list(
        sample_prompts(
            model, params, prompts, config, mesh, longest=LONGEST, batch_size=batch_size
        )
    )


def assert_same(found, expected):
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one.tokens, other.tokens)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert one.cut == other.cut


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"top_p": 0.9}])
def test_neither_batches_nor_widths_nor_devices_change_a_sample(policy, settings):
    """Batches of one prompt and of all have other widths, neighbours and rows."""
    expected = sampled(policy, **settings)
    ways = [(8, 32)] if settings else [(1, 3), (1, 32), (8, 8)]
    for devices, batch_size in ways:
        found = sampled(policy, devices=devices, batch_size=batch_size, **settings)
        assert_same(found, expected)


def test_more_padding_changes_no_sample(policy, monkeypatch):
    expected = sampled(policy)
    monkeypatch.setattr("dro_jax.data.prompt_batches._LEAST_EDGE", LONGEST)
    assert_same(sampled(policy), expected)


def test_samples_come_in_the_order_of_prompts(policy, monkeypatch):
    """Over several windows too; each is the sample of its own prompt."""
    expected = sampled(policy)
    monkeypatch.setattr("dro_jax.data.prompt_batches.plan_batches.__defaults__", (1,))
    assert_same(sampled(policy), expected)
    backwards = np.arange(len(PROMPTS))[::-1]
    assert_same(sampled(policy, prompts=PROMPTS.at(backwards))[::-1], expected)


def test_a_sample_says_whether_it_was_cut(policy):
    samples = [sample for some in sampled(policy) for sample in some]
    for sample in samples:
        assert sample.cut == (EOS not in sample.tokens)
        assert len(sample.tokens) == 6 if sample.cut else sample.tokens[-1] == EOS
    assert {sample.cut for sample in samples} == {True, False}


def test_progress_tells_responses_and_tokens(policy, capsys):
    model, params = policy
    config = DecodingConfig(max_decode_length=6, num_samples=2)
    mesh = MESHES[1].build()
    list(
        sample_prompts(
            model, params, PROMPTS, config, mesh, longest=LONGEST, label="generate"
        )
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("generate 42/42 responses  ")
    assert line.split("  ")[-1].endswith(" tokens/s")


def test_parameters_that_are_not_numbers_are_refused(policy):
    model, params = policy
    params = jax.tree.map(lambda x: x * np.float32("nan"), params)
    with pytest.raises(CheckpointError, match="NaN"):
        sampled((model, params))
