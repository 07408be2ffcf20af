"""The reference's own samples: drawn once, kept, refused where they are of something else."""

import dataclasses
import functools
import json

import jax
import numpy as np
import optax
import pytest
import seqio
import small

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL, RPO, sampled_values
from dro_jax.rewards.interface import Scores
from dro_jax.training.before.prompt_statistics import (
    quantile_table,
    sampled_value_table,
)
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.before.samples_of_reference import (
    SamplesOfReference,
    num_prompts,
)
from dro_jax.training.before.units_of_samples import mean_rewards
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.before.value_fit_data import is_judged
from dro_jax.training.before.value_of_reference import ValueOfReference
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.preemption import Preempted, StopSignal
from dro_jax.training.sharding import MeshConfig

PROMPTS, SAMPLES, JUDGED = 11, 3, 0.4
MODEL = FeedbackModel(
    network=dataclasses.replace(small.NETWORK, vocab_size=259), objective=NLL()
)
DECODING = DecodingConfig(num_samples=SAMPLES)
SETTINGS = ReferenceSamples(DECODING, batch_size=4)


def prompt(number):
    return f"question {'z' * (number % 4)}{number}"


def length(prompt, response):
    return float(len(response.encode()) + len(prompt))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A split with two responses to each of some prompts, one to the others."""
    path = tmp_path_factory.mktemp("samples") / "logs.jsonl"
    records = [
        {"prompt": prompt(n), "response": "ab" * k, "reward": k + n % 3}
        for k in (1, 2)
        for n in range(PROMPTS - 3 * (k - 1))
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    task = register_feedback_task(
        "sampled_questions",
        JsonlSource({"train": str(path), "validation": str(path)}),
        vocabulary="byte",
        reward_fn=length,
        reward_transform="normalize",
    )
    yield DatasetConfig(task.name, {"inputs": 16, "targets": 5}, batch_size=8)
    seqio.TaskRegistry.remove(task.name)


@pytest.fixture(scope="module")
def steps(data):
    return MeshSteps(
        MODEL,
        optax.sgd(0.1),
        MeshConfig(data=1).build(),
        next(data.batches()),
        key=jax.random.key(0),
    )


@pytest.fixture
def make(steps, tmp_path):
    def make(settings=SETTINGS, *, fingerprint="f00d", folder=None, **others):
        def load():
            return steps.start(None, jax.random.key(1)).params

        return SamplesOfReference(
            MODEL,
            load,
            steps,
            settings,
            fingerprint=fingerprint,
            folder=folder or tmp_path / "samples",
            **others,
        )

    return make


def kept(folder):
    """What people read of the samples, and the names of all files."""
    (place,) = (folder / "samples").iterdir()
    lines = (place / "samples.jsonl").read_text().splitlines()
    names = {path.name for path in place.iterdir()}
    return [json.loads(line) for line in lines], names - {"owner.json"}


def test_every_prompt_has_rewards_of_its_samples(make, data, tmp_path):
    samples = make()
    rewards = samples.of(data)
    records = data.prompt_records()
    found = rewards.of(records.prompts)
    assert found.shape == (len(records), SAMPLES) and np.isfinite(found).all()
    assert samples.num_sampled == PROMPTS * SAMPLES
    assert num_prompts(records, 0.0) == PROMPTS
    lines, names = kept(tmp_path)
    assert names == {"key.json", "rewards.npy", "samples.jsonl"}
    assert len({(one["prompt"], one["sample"]) for one in lines}) == PROMPTS * SAMPLES
    # Logged and sampled rewards are on one scale, that of the records.
    (task,) = data.tasks()
    by_prompt = dict(zip(map(prompt, range(PROMPTS)), found, strict=False))
    for one in lines:
        score = np.array([length(one["prompt"], one["response"])])
        assert one["reward"] == task.source.on_training_scale(score)[0]
        assert one["reward"] == by_prompt[one["prompt"]][one["sample"]]
        assert one["logprob"] < 0 and 1 <= one["tokens"] <= 5
    again = make()
    np.testing.assert_array_equal(again.of(data).of(records.prompts), found)
    assert again.num_sampled == 0
    with pytest.raises(DataError, match="lack 1 prompt of"):
        rewards.of(np.array([1], np.uint64))


def test_a_run_that_ends_goes_on_at_a_batch_s_cost(make, data, tmp_path):
    """Told to stop, or killed: by an error that nothing catches."""
    whole = make().of(data).of(data.prompt_records().prompts)
    expected, _ = kept(tmp_path)
    calls = []

    class Ends:
        name, fingerprint = "length", "the task's own"

        def __call__(self, prompts, responses):
            calls.append(len(prompts) // SAMPLES)
            if len(calls) == 1:
                stop.request()
            if len(calls) == 3:
                raise KeyboardInterrupt
            pairs = zip(prompts, responses, strict=True)
            return Scores(np.array([length(*own) for own in pairs]))

    stop = StopSignal()
    settings = dataclasses.replace(SETTINGS, rewards=Ends())
    samples = functools.partial(make, settings, folder=tmp_path / "other")
    with pytest.raises(Preempted, match="goes on from what is kept"):
        samples(stop=stop).of(data)
    with pytest.raises(KeyboardInterrupt):
        samples().of(data)
    assert calls == [4, 4, 3]
    assert len(list((tmp_path / "other").rglob("part-*"))) == 2
    last = samples()
    found = last.of(data).of(data.prompt_records().prompts)
    assert calls[3:] == [3] and last.num_sampled == 3 * SAMPLES
    np.testing.assert_array_equal(found, whole)
    assert not list((tmp_path / "other").rglob("part-*"))
    (path,) = (tmp_path / "other").rglob("*.jsonl")
    lines = map(json.loads, path.read_text().splitlines())
    assert sorted(lines, key=str) == sorted(expected, key=str)


def test_samples_of_something_else_are_refused(make, data):
    class Other:
        name, fingerprint = "other", "another reward"

    make().of(data)
    for other, changed in (
        ({"fingerprint": "beef"}, "reference parameters: f00d → beef"),
        (
            {"settings": ReferenceSamples(DECODING, Other())},
            "reward of .*another reward",
        ),
        (
            {"settings": ReferenceSamples(dataclasses.replace(DECODING, seed=1))},
            "seed 0 → .*seed 1",
        ),
    ):
        with pytest.raises(CheckpointError, match=f"were drawn in .*{changed}"):
            make(**other).of(data)
    # How they are batched changes no sample.
    assert make(dataclasses.replace(SETTINGS, batch_size=3)).of(data)


def test_a_value_is_fitted_to_the_mean_of_a_prompt_s_samples(
    make, data, steps, tmp_path
):
    """But to those that judge; and nothing is sampled where the fit is there."""
    samples = make()

    def fit(samples):
        value = ValueOfReference(
            MODEL,
            samples._load,
            steps,
            ValueFitConfig(num_epochs=1, batch_size=8),
            fingerprint="f00d",
            folder=tmp_path / "value",
        )
        return value.fit(data, judged_fraction=JUDGED, samples=samples)

    report = fit(samples)
    fitted = np.unique(data.prompt_records().prompts)
    fitted = fitted[~is_judged(fitted, JUDGED)]
    count = len(fitted)
    assert 2 < count < PROMPTS and samples.num_sampled == count * SAMPLES
    assert num_prompts(data.prompt_records(), JUDGED) == count
    assert report.train_prompts + report.held_out_prompts == count
    assert report.train_records == report.train_prompts * SAMPLES
    rewards = samples.of(data, JUDGED).of(fitted)
    assert (report.min_value, report.max_value) == (rewards.min(), rewards.max())
    held_out = report.held_out_prompts  # those of the least hashes
    means = rewards.mean(1, dtype=np.float64).astype(np.float32).astype(np.float64)
    error = np.mean((means[:held_out] - means[held_out:].mean()) ** 2)
    assert report.constant_mse == pytest.approx(error, rel=1e-5)
    again = make(folder=tmp_path / "nothing is there")
    assert fit(again) == report and again.num_sampled == 0
    with pytest.raises(CheckpointError, match="reward of .* → none"):
        fit_to_the_log = ValueOfReference(
            MODEL,
            samples._load,
            steps,
            ValueFitConfig(num_epochs=1, batch_size=8),
            fingerprint="f00d",
            folder=tmp_path / "value",
        )
        fit_to_the_log.fit(data, judged_fraction=JUDGED)
    # Who needs the other prompts too draws those alone.
    rest = make()
    rest.of(data)
    assert rest.num_sampled == (PROMPTS - count) * SAMPLES
    lines, _ = kept(tmp_path)
    assert len(lines) == PROMPTS * SAMPLES


def test_values_and_quantiles_of_prompts_come_from_samples(make, data):
    records, rewards = data.prompt_records(), make().of(data)
    batch = next(data.batches())
    found = rewards.of(records.prompts)
    entries = batch["record_ids"][:, 0, 1]
    table = sampled_value_table(RPO(0.5), records, rewards)
    np.testing.assert_allclose(
        table.attach(batch)["prompt_values"][:, 0],
        np.asarray(sampled_values(found, tau=0.5))[entries],
        rtol=1e-5,
    )
    table = quantile_table(records, rewards)
    expected = [
        np.mean(found[own] <= records.rewards[own]) for own in range(len(records))
    ]
    np.testing.assert_allclose(
        table.attach(batch)["quantiles"][:, 0], np.array(expected)[entries], rtol=1e-6
    )
    assert (
        table.attach(batch)["quantiles"]
        != quantile_table(records).attach(batch)["quantiles"]
    ).any()


def test_rewards_of_samples_are_brought_to_the_log_s_units(make, data, tmp_path):
    records = data.prompt_records()
    plain = make(folder=tmp_path / "plain")
    raw = plain.of(data).of(records.prompts)
    assert not any("units" in name for name in plain.facts(data))
    scaled = dataclasses.replace(SETTINGS, scale=2.0, shift=-0.5)
    samples = make(scaled)
    found = samples.of(data)
    np.testing.assert_allclose(found.of(records.prompts), 2 * raw - 0.5, atol=1e-6)
    lines, _ = kept(tmp_path)
    assert np.mean([one["reward"] for one in lines]) == pytest.approx(
        mean_rewards(found, records).sampled, abs=1e-6
    )
    assert samples.facts(data)["units of samples"] == "scale 2.0, shift -0.5"
    with pytest.raises(
        CheckpointError, match="units of samples.*scale 2.0, shift -0.5"
    ):
        make().of(data)
    with pytest.raises(ConfigError, match="ReferenceSamples.scale = 0: .* above 0"):
        ReferenceSamples(scale=0)


def test_other_units_than_the_log_s_are_told(make, data, tmp_path, capsys):
    records = data.prompt_records()
    by_hand = make().of(data)
    own = mean_rewards(by_hand, records)
    # Each prompt once, whatever was logged for it.
    prompts = [records.prompts == one for one in np.unique(records.prompts)]
    logged = np.mean([records.rewards[its].mean() for its in prompts])
    sampled = np.mean([by_hand.of(records.prompts)[its].mean() for its in prompts])
    assert own == pytest.approx((sampled, logged, records.rewards.std()), abs=1e-6)
    assert "note: " in (told := capsys.readouterr().err) and "in other units" in told
    make(beside_log=False).of(data)  # what trains on samples alone
    assert "mean reward" in (told := capsys.readouterr().err) and "units" not in told
    settings = dataclasses.replace(SETTINGS, shift=own.logged - own.sampled)
    again = mean_rewards(make(settings, folder=tmp_path / "moved").of(data), records)
    assert again.sampled == pytest.approx(again.logged, abs=1e-5)
    told = capsys.readouterr().err
    assert f"mean reward {again.sampled:+.3f}, of what" in told and "note" not in told
