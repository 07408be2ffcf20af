"""The value of the reference on disk: computed once, kept, refused where it differs."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest
import small
from prompt_rewards import PromptRewards

from dro_jax.data.record_ids import join_ids
from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.before.value_fit_data import FitData
from dro_jax.training.before.value_of_reference import ValueOfReference
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.preemption import Preempted, StopSignal
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.watchdog import Watchdog

DATA = PromptRewards()
TRAIN = PromptRewards(num_prompts=30, split="train", seed=1)
CONFIG = ValueFitConfig(num_epochs=2, learning_rate=1e-2, batch_size=8)
MODEL = FeedbackModel(network=small.NETWORK, objective=NLL())


def steps_of(model=MODEL, mesh=None):
    return MeshSteps(
        model,
        optax.sgd(0.1),
        (mesh or MeshConfig(data=1)).build(),
        next(DATA.batches()),
        key=jax.random.key(0),
    )


@pytest.fixture(scope="module")
def steps():
    return steps_of()


@pytest.fixture(scope="module")
def params(steps):
    return jax.device_get(steps.start(None, jax.random.key(1)).params)


@pytest.fixture
def make(steps, params, tmp_path):
    def make(config=CONFIG, steps=steps, model=MODEL, **settings):
        arguments = {"fingerprint": "f00d", "folder": tmp_path / "value"} | settings

        def load():
            return jax.device_put(params, steps.layout.shardings)

        return ValueOfReference(model, load, steps, config, **arguments)

    return make


@pytest.fixture
def estimate(make):
    """What a run does: a fit, and the values of its training data."""

    def estimate(**settings):
        value = make(**settings)
        report = value.fit(DATA)
        return value, report, value.values(TRAIN)

    return estimate


def test_every_record_has_a_value(estimate):
    _, report, values = estimate()
    assert (values.shape, values.dtype) == ((60,), np.float32)
    assert report.min_value < values.min() < values.max() < report.max_value
    # Two responses to each prompt, whatever their rows and neighbours are.
    by_prompt = values.reshape(30, 2)
    np.testing.assert_allclose(by_prompt[:, 0], by_prompt[:, 1], atol=1e-5)
    assert np.ptp(by_prompt[:, 0]) > 0.1


def test_the_values_have_the_errors_of_the_report(make):
    value = make()
    report = value.fit(DATA)
    records = DATA.prompt_records()
    errors = value.values(DATA) - records.rewards
    batches = list(DATA.one_pass(pack=True).batches())
    data = FitData.of(batches, records, CONFIG.held_out_fraction)
    ids = join_ids(np.concatenate([b["record_ids"] for b in batches]))[: len(data)]
    entries, _ = records.ids.locate(ids)
    for which, wanted in (
        (data.train, report.best.train_mse),
        (data.held_out, report.best.held_out_mse),
    ):
        found = np.mean(errors[entries[which]] ** 2)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_second_run_does_no_forward_pass(make, estimate):
    first, report, wanted = estimate()
    assert first.num_forwards == 8 + 4
    second = make()
    second._load = None
    assert second.fit(DATA) == report
    actual = second.values(TRAIN)
    assert second.num_forwards == 0
    np.testing.assert_array_equal(actual, wanted)
    assert actual.dtype == wanted.dtype


def test_the_same_run_elsewhere_gives_the_same_bits(estimate, tmp_path):
    _, report, values = estimate()
    _, again, same_values = estimate(folder=tmp_path / "elsewhere")
    assert again == report
    np.testing.assert_array_equal(same_values, values)


def test_the_report_is_there_for_people(estimate, tmp_path):
    _, report, _ = estimate()
    written = json.loads((tmp_path / "value" / "report.json").read_text())
    assert written["best"]["held_out_mse"] == report.best.held_out_mse
    assert len(written["epochs"]) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.5}, r"ValueFitConfig.learning_rate: 0.01 → 0.5"),
        ({"max_value": 9.0}, r"ValueFitConfig.max_value: None → 9.0"),
        ({"seed": 3}, r"ValueFitConfig.seed: 0 → 3"),
    ],
)
def test_another_setting_is_refused(make, change, named):
    make().fit(DATA)
    with pytest.raises(CheckpointError, match=named):
        make(dataclasses.replace(CONFIG, **change)).fit(DATA)


def test_a_setting_that_changes_no_number_is_not_refused(make):
    report = make().fit(DATA)
    assert make(dataclasses.replace(CONFIG, max_state_bytes=0)).fit(DATA) == report


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (PromptRewards(noise=0.5), r"rewards: noise 0.0 → noise 0.5"),
        (PromptRewards(num_prompts=61), r"records: 60·2 from 0 → 61·2 from 0"),
    ],
)
def test_other_data_are_refused(make, data, named):
    make().fit(DATA)
    with pytest.raises(CheckpointError, match=named):
        make().fit(data)


def test_other_parameters_are_refused(make):
    make().fit(DATA)
    with pytest.raises(CheckpointError, match="reference parameters: f00d → beef"):
        make(fingerprint="beef").fit(DATA)


def test_another_network_is_refused(make):
    make().fit(DATA)
    network = dataclasses.replace(small.NETWORK, dtype="bfloat16")
    model = FeedbackModel(network=network, objective=NLL())
    with pytest.raises(CheckpointError, match="network dtype: float32 → bfloat16"):
        make(model=model).fit(DATA)


def test_values_of_another_fit_are_refused(make, estimate, tmp_path):
    estimate()
    for name in ("key.json", "fit.npz", "report.json"):
        (tmp_path / "value" / name).unlink()
    value = make(dataclasses.replace(CONFIG, seed=1))
    value.fit(DATA)
    with pytest.raises(CheckpointError, match="value estimate: [0-9a-f]+ → [0-9a-f]+"):
        value.values(TRAIN)


def test_rewards_of_the_training_split_do_not_matter(make, estimate):
    _, _, wanted = estimate()
    value = make()
    value.fit(DATA)
    values = value.values(dataclasses.replace(TRAIN, noise=1.0))
    assert value.num_forwards == 0
    np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize("name", ["fit.npz", "report.json"])
def test_a_damaged_fit_is_named(make, tmp_path, name):
    make().fit(DATA)
    path = tmp_path / "value" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read.*delete it"):
        make().fit(DATA)


def test_a_fit_that_was_stopped_begins_anew(make, tmp_path):
    stop = StopSignal()
    stop.request()
    stopped = make(stop=stop)
    with pytest.raises(Preempted) as caught:
        stopped.fit(DATA)
    assert caught.value.code == 143
    assert stopped.num_forwards == 1
    assert not (tmp_path / "value" / "report.json").exists()
    resumed = make()
    resumed.fit(DATA)
    assert resumed.num_forwards == 8


def test_the_watchdog_hears_of_every_batch(make):
    class Counting(Watchdog):
        resets = 0

        def reset(self):
            self.resets += 1

    watchdog = Counting(None)
    value = make(watchdog=watchdog)
    value.fit(DATA)
    assert watchdog.resets >= 8 + 3 * 8 + 2 * 6
    before = watchdog.resets
    value.values(TRAIN)
    assert watchdog.resets == before + 4


def test_values_without_a_fit_are_a_mistake(make):
    with pytest.raises(RuntimeError, match="call fit first"):
        make().values(TRAIN)


def test_an_empty_split_has_no_values(make):
    value = make()
    value.fit(DATA)
    with pytest.raises(DataError, match="sizes-train: the split is empty"):
        value.values(dataclasses.replace(TRAIN, num_prompts=0))


def test_a_split_that_cannot_be_fitted_is_named(make):
    with pytest.raises(DataError, match="'validation' of 'sizes': every reward"):
        make().fit(PromptRewards(slope=0.0))


def test_heads_are_checked_at_once(make):
    with pytest.raises(ConfigError, match="3 heads"):
        make(ValueFitConfig(num_heads=3))


@pytest.mark.slow
def test_a_bfloat16_network_is_fitted_too(make):
    network = dataclasses.replace(small.NETWORK, dtype="bfloat16")
    model = FeedbackModel(network=network, objective=NLL())
    value = make(model=model, steps=steps_of(model))
    report = value.fit(DATA)
    values = value.values(TRAIN)
    assert values.dtype == np.float32
    assert report.best.explained_variance > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    "mesh", [MeshConfig(data=8), MeshConfig(data=4, model=2, fsdp=True)], ids=str
)
def test_a_mesh_computes_the_same_values(estimate, mesh, tmp_path):
    config = dataclasses.replace(CONFIG, batch_size=6)  # the devices do not divide it
    _, report, wanted = estimate(config=config)
    _, sharded, actual = estimate(
        config=config, steps=steps_of(mesh=mesh), folder=tmp_path / "sharded"
    )
    np.testing.assert_allclose(
        sharded.best.held_out_mse, report.best.held_out_mse, rtol=1e-3
    )
    np.testing.assert_allclose(actual, wanted, atol=1e-3)
