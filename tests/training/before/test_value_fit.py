"""The fit of a value: what is held out, which epoch is kept, what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
import small
from prompt_rewards import PromptRewards

from dro_jax.errors import ConfigError, DataError, TrainingError
from dro_jax.models.attention_pool import PromptValue
from dro_jax.models.model import FeedbackModel
from dro_jax.models.shared_prompts import prompt_mask
from dro_jax.objectives import NLL
from dro_jax.training.before import value_fit
from dro_jax.training.before.value_fit import ValueFit, ValueFitConfig
from dro_jax.training.before.value_fit_data import (
    FitData,
    FrozenStates,
    is_judged,
    row_batches,
)
from dro_jax.training.before.value_fit_report import FitReport
from dro_jax.training.before.value_of_reference import encode_prompts
from dro_jax.training.sharding import MeshConfig

DATA = PromptRewards()
MODEL = FeedbackModel(network=small.NETWORK, objective=NLL())


@pytest.fixture(scope="module")
def params():
    batch = {
        name: x for name, x in next(DATA.batches()).items() if name != "record_ids"
    }
    return small.init(MODEL, batch)


@pytest.fixture(scope="module")
def encode(params):
    compiled = jax.jit(lambda batch: encode_prompts(MODEL, params, batch))
    return lambda batch, shard: compiled(batch)


@pytest.fixture
def fit(encode):
    """Fits, and says how often the encoder ran."""

    def fit(dataset=DATA, **settings):
        config = ValueFitConfig(**({"batch_size": 8} | settings))
        data = read(dataset, config.held_out_fraction)
        calls = []

        def counted(batch, shard):
            calls.append(len(batch["encoder_input_tokens"]))
            return encode(batch, shard)

        partitioner = MeshConfig(data=1).build()
        states = FrozenStates(data, counted, partitioner)
        fitted = ValueFit(config, data, states, 16, partitioner).run()
        return (*fitted, len(calls))

    return fit


def read(dataset=DATA, fraction=0.2):
    batches = dataset.one_pass(pack=True).batches()
    return FitData.of(batches, dataset.prompt_records(), fraction)


def test_rows_without_a_trajectory_are_left_out():
    batches = list(DATA.one_pass(pack=True).batches())
    assert len(batches) * 8 == 64
    data = read()
    assert len(data) == 60
    assert data.train.sum() + data.held_out.sum() == 120


@pytest.mark.parametrize(("fraction", "count"), [(0.2, 12), (0.001, 1), (0.999, 59)])
def test_the_responses_of_one_prompt_are_on_one_side(fraction, count):
    data = read(fraction=fraction)
    held_out, train = data.prompts[data.held_out], data.prompts[data.train]
    assert not np.intersect1d(held_out, train).size
    assert data.num_prompts(data.held_out) == count
    assert data.num_prompts(data.train) == 60 - count
    assert len(held_out) == 2 * count


def test_what_is_held_out_does_not_depend_on_the_order_or_packing():
    packed = read()
    batches = list(DATA.batches())[::-1]
    unpacked = FitData.of(batches, DATA.prompt_records(), 0.2)
    held_out = [set(data.prompts[data.held_out]) for data in (packed, unpacked)]
    assert held_out[0] == held_out[1]


def test_learns_a_reward_that_the_prompt_decides(fit):
    _, report, _ = fit(learning_rate=1e-2, num_epochs=30)
    assert report.best.explained_variance > 0.5
    assert report.best.held_out_mse < 0.5 * report.constant_mse
    assert (report.min_value, report.max_value) == (-1.0, 3.0)
    assert (report.train_prompts, report.held_out_prompts) == (48, 12)
    assert (report.train_records, report.held_out_records) == (96, 24)


def test_updates_do_not_run_far_ahead_of_the_device(fit, monkeypatch):
    waited = []
    monkeypatch.setattr(value_fit.jax, "block_until_ready", waited.append)
    fit(num_epochs=3)
    rows = read().train.any(1).sum()
    assert len(waited) == 3 * -(-rows // 8) - 1  # not for the last


def test_begins_at_the_mean_reward(fit):
    _, report, _ = fit(num_epochs=1)
    data = read()
    wanted = np.mean(
        (data.rewards[data.held_out] - data.rewards[data.train].mean()) ** 2
    )
    np.testing.assert_allclose(report.constant_mse, wanted, rtol=1e-5)
    np.testing.assert_allclose(report.epochs[0].held_out_mse, wanted, rtol=1e-5)
    np.testing.assert_allclose(report.epochs[0].explained_variance, 0, atol=1e-5)


# Little data with much noise: after a while the fit learns the noise by heart.
NOISY = PromptRewards(num_prompts=20, responses=1, noise=2.0)
BY_HEART = {
    "learning_rate": 3e-2,
    "dropout_rate": 0.0,
    "held_out_fraction": 0.4,
    "batch_size": 4,
}


def test_the_epoch_of_the_least_held_out_error_is_kept(fit):
    _, report, _ = fit(NOISY, num_epochs=40, **BY_HEART)
    held_out = [epoch.held_out_mse for epoch in report.epochs]
    assert 0 < report.best_epoch == int(np.argmin(held_out)) < 40
    last = report.epochs[-1]
    assert last.train_mse < 0.8 * report.best.train_mse
    assert last.held_out_mse > 1.2 * report.best.held_out_mse


def test_the_parameters_are_those_of_the_epoch_that_was_kept(fit):
    kept, report, _ = fit(NOISY, num_epochs=40, **BY_HEART)
    shorter, _, _ = fit(NOISY, num_epochs=report.best_epoch, **BY_HEART)
    jax.tree.map(np.testing.assert_array_equal, kept, shorter)


def test_where_no_epoch_beats_a_constant_v_is_the_constant(fit):
    noise = PromptRewards(num_prompts=12, responses=1, slope=0.0, noise=1.0, seed=3)
    kept, report, _ = fit(noise, learning_rate=0.3, num_epochs=3)
    assert report.best_epoch == 0
    np.testing.assert_array_equal(kept["kernel"], 0)
    assert "V is that constant" in report.text()


def test_is_deterministic_in_its_seed(fit):
    one, first, _ = fit(num_epochs=2)
    same, second, _ = fit(num_epochs=2)
    other, third, _ = fit(num_epochs=2, seed=1)
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert first == second
    assert third.epochs[1] != first.epochs[1]
    assert not np.array_equal(one["pool"]["query"], other["pool"]["query"])


def test_states_are_computed_once_where_they_fit(fit):
    held, report, calls = fit(num_epochs=2)
    assert calls == 8  # 60 rows
    size = 60 * 12 * 16 * 4  # 60 rows of 12 positions of 16 float32
    again, same, _ = fit(num_epochs=2, max_state_bytes=size)
    computed, close, more = fit(num_epochs=2, max_state_bytes=size - 1)
    assert same == report
    assert more > 3 * calls
    np.testing.assert_allclose(
        close.best.held_out_mse, report.best.held_out_mse, rtol=1e-4
    )
    jax.tree.map(np.testing.assert_array_equal, held, again)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5),
        held,
        computed,
    )


def test_a_report_survives_json(fit):
    _, report, _ = fit(num_epochs=2)
    assert FitReport.from_json(report.to_json()) == report


def test_no_gradient_reaches_the_encoder(params):
    batch = next(DATA.batches())

    @jax.jit
    @jax.value_and_grad
    def total(params):
        return encode_prompts(MODEL, params, batch).sum()

    value, gradient = total(params)
    assert value != 0
    assert all(not leaf.any() for leaf in small.leaves(gradient))


def test_packing_and_padding_do_not_change_a_value(params):
    module = PromptValue(0.0, 1.0)
    items = small.examples(lengths=((5, 4), (3, 6), (6, 2), (4, 4)))
    packed = small.pack([items[:2], items[2:]], input_length=15)
    unpacked = small.unpacked(items)

    @jax.jit
    def values_of(batch):
        states, mask = encode_prompts(MODEL, params, batch), prompt_mask(batch)
        fitted = module.init(jax.random.key(0), states, mask)["params"]
        fitted["kernel"] = jax.random.normal(jax.random.key(1), (16,))
        return module.apply({"params": fitted}, states, mask)

    found = [values_of(batch).reshape(-1) for batch in (packed, unpacked)]
    np.testing.assert_allclose(*found, atol=1e-5)
    assert np.ptp(found[0]) > 0.01


def test_given_bounds_are_kept(fit):
    _, report, _ = fit(num_epochs=1, min_value=-2.0, max_value=5.0)
    assert (report.min_value, report.max_value) == (-2.0, 5.0)


def test_equal_rewards_are_refused(fit):
    with pytest.raises(DataError, match="every reward of the split is -1"):
        fit(PromptRewards(slope=0.0))


@pytest.mark.parametrize(
    ("bounds", "named"),
    [((7.0, None), "between 7 and 3"), ((-4.0, -2.0), "between -4 and -2")],
)
def test_bounds_without_rewards_between_them_are_refused(fit, bounds, named):
    with pytest.raises(ConfigError, match=f"{named}: .* from -1 to 3"):
        fit(min_value=bounds[0], max_value=bounds[1])


def test_one_prompt_is_refused():
    with pytest.raises(DataError, match="1 distinct prompt"):
        read(dataclasses.replace(DATA, num_prompts=1))


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="the split is empty"):
        FitData.of([], DATA.prompt_records(), 0.2)


def test_a_reward_that_is_not_finite_stops_the_fit(encode):
    data = read()
    data.rewards[np.argwhere(data.train)[0][0], 0] = np.nan
    partitioner = MeshConfig(data=1).build()
    config = ValueFitConfig(min_value=-1.0, max_value=3.0)
    states = FrozenStates(data, encode, partitioner)
    with pytest.raises(TrainingError, match="not finite"):
        ValueFit(config, data, states, 16, partitioner).run()


@pytest.mark.parametrize(
    ("size", "multiple", "wanted"),
    [
        (3, 1, [([4, 5, 6], 3), ([7, 8, 7], 2)]),
        (3, 2, [([4, 5, 6, 4], 3), ([7, 8, 7, 8], 2)]),
        (8, 4, [([4, 5, 6, 7, 8, 4, 5, 6], 5)]),
    ],
)
def test_batches_are_filled_up_for_the_devices(size, multiple, wanted):
    batches = row_batches(np.arange(4, 9), size, multiple)
    assert [(rows.tolist(), count) for rows, count in batches] == wanted


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_heads", 0),
        ("dropout_rate", 1.0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("num_epochs", 0),
        ("batch_size", 0),
        ("held_out_fraction", 1.0),
        ("min_value", float("inf")),
    ],
)
def test_settings_that_cannot_be_used_are_refused(setting, value):
    with pytest.raises(ConfigError, match=rf"ValueFitConfig.{setting} = "):
        ValueFitConfig(**{setting: value})


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(
        ConfigError, match="max_value = 1.0 must be above min_value = 2"
    ):
        ValueFitConfig(min_value=2.0, max_value=1.0)


def test_prompts_that_judge_are_left_out_whatever_their_order():
    sides = []
    for dataset in (DATA, dataclasses.replace(DATA, pack=True)):
        batches = list(dataset.batches())
        records = dataset.prompt_records()
        data = FitData.of(batches, records, 0.2, judged_fraction=0.5)
        fitted = set(data.prompts[data.train | data.held_out].tolist())
        hashes = records.prompts
        judging = set(hashes[is_judged(hashes, 0.5)].tolist())
        assert not fitted & judging
        assert fitted | judging == set(hashes.tolist())
        assert 15 < len(judging) < 45
        sides.append(fitted)
        # The epoch's prompts are chosen by another half of the hash.
        share = np.mean(data.held_out[data.train | data.held_out])
        assert 0.1 < share < 0.3
    assert sides[0] == sides[1]
