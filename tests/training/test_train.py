"""The trainer whole: a reference by NLL, then each objective from it."""

import dataclasses
import json
import time
import types

import numpy as np
import pytest
import small
from array_data import ArrayDataset
from training_runs import HELD_OUT, optimizer, run

from dro_jax.errors import CheckpointError, ConfigError, DataError, TrainingError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import (
    AWR,
    BCO,
    DPO,
    DRO,
    DROP,
    DROV,
    KTO,
    PMPO,
    RPO,
    TOPR,
    UNA,
    ALoL,
    ALoLKL,
    ALoLRefFree,
    ALoLSeq,
    APOZero,
    RGold,
    RLoL,
    WeightedBC,
)
from dro_jax.training import optimizers
from dro_jax.training.before.checks import check_groups
from dro_jax.training.before.value_of_reference import ValueFitConfig
from dro_jax.training.checkpoints import CheckpointConfig, load_params
from dro_jax.training.metric_writers import read_metrics


def test_nll_learns(reference_dir):
    records = read_metrics(reference_dir)
    assert [record["step"] for record in records] == list(range(5, 65, 5))
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]


class Slow(ArrayDataset):
    """Whose batches take a while."""

    SECONDS = 0.05

    def batches(self, *arguments, **settings):
        for batch in super().batches(*arguments, **settings):
            time.sleep(self.SECONDS)
            yield batch


def test_a_save_between_two_lines_takes_no_time_from_their_steps(tmp_path):
    """The rate was of all steps over the time since the save."""
    saves = CheckpointConfig(period=3)
    run(
        tmp_path,
        steps=4,
        train_dataset_cfg=Slow(),
        log_period=4,
        checkpoint_cfg=saves,
    )
    (line,) = read_metrics(tmp_path)
    assert line["steps_per_second"] <= 1 / Slow.SECONDS


def test_metrics_say_what_is_going_on(reference_dir):
    last = read_metrics(reference_dir)[-1]
    for name in ("loss", "grad_norm", "learning_rate", "num_tokens", "rewards/mean",
                 "logps/policy", "truncation_rate", "padding_fraction",
                 "steps_per_second", "tokens_per_second", "trajectories_per_second",
                 "eval/loss"):  # fmt: skip
        assert np.isfinite(last[name]), name
    assert last["num_trajectories"] == 5 * 8
    assert last["eval/num_trajectories"] == 16


@pytest.mark.parametrize(
    ("steps", "eval_period"), [(30, 5), (25, 10)], ids=["each", "some"]
)
def test_keeps_the_last_checkpoint_and_the_best_evaluated(tmp_path, steps, eval_period):
    run(
        tmp_path,
        steps=steps,
        train_eval_dataset_cfg=HELD_OUT,
        eval_period=eval_period,
        checkpoint_cfg=CheckpointConfig(period=5, keep=1, keep_best=1, best_mode="max"),
    )
    kept = {int(path.name.split("_")[1]) for path in tmp_path.glob("checkpoint_*")}
    losses = {r["step"]: r.get("eval/loss") for r in read_metrics(tmp_path)}
    evaluated = {step: loss for step, loss in losses.items() if loss is not None}
    assert set(evaluated) == {*range(eval_period, steps, eval_period), steps}
    assert kept == {steps, max(evaluated, key=evaluated.get)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "value", "reference"),
    [
        (DROV(0.3), None, "cached"),
        (DRO(0.3), ValueConfig(network="shared_head"), "frozen_copy"),
        (DROP(0.3), None, "cached"),
    ],
    ids=["dro_v", "dro", "dro_p"],
)
def test_every_objective_raises_the_good_responses(
    tmp_path, reference_dir, objective, value, reference
):
    run(
        tmp_path,
        objective,
        steps=80,
        value=value,
        initial_checkpoint_path=str(reference_dir),
        reference=reference,
    )
    first, last = read_metrics(tmp_path)[0], read_metrics(tmp_path)[-1]
    assert last["residual"] < 0.8 * first["residual"]
    assert last["reward_logratio_correlation"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        UNA(0.3),
        APOZero(0.5),
        TOPR(),
        PMPO(),
        RLoL(),
        KTO(beta=0.5),
        BCO(beta=0.5),
        RPO(0.3),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_objectives_without_a_value_prefer_the_good_responses(
    tmp_path, reference_dir, objective
):
    run(
        tmp_path,
        objective,
        steps=60,
        initial_checkpoint_path=str(reference_dir),
        checkpoint_cfg=CheckpointConfig(period=60),
    )
    # A loss of signed rewards may rise while the policy gets better.
    last = read_metrics(tmp_path)[-1]
    assert last["reward_logratio_correlation"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("objective", [WeightedBC(), RGold()])
def test_weighted_cloning_learns(tmp_path, objective):
    run(tmp_path, objective, steps=30)
    records = read_metrics(tmp_path)
    assert records[-1]["loss"] < records[0]["loss"]


@pytest.mark.slow
def test_adafactor_trains_and_restores(tmp_path):
    config = optimizer(0.05, optimizers.adafactor())
    run(tmp_path, steps=10, optimizer=config)
    run(tmp_path, steps=15, optimizer=config)
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [5, 10, 15]
    assert records[-1]["loss"] < records[0]["loss"]


def test_a_value_network_starts_from_the_reference(reference_dir, tmp_path):
    state = run(
        tmp_path,
        DROV(),
        steps=1,
        optimizer=optimizer(0.0),
        initial_checkpoint_path=str(reference_dir),
    )
    pretrained = load_params(reference_dir)
    for part in ("encoder", "token_embedder"):
        for tree in (state.params[part], state.params["value"][part]):
            for a, b in zip(
                small.leaves(tree), small.leaves(pretrained[part]), strict=True
            ):
                np.testing.assert_array_equal(a, b)


def test_dropout_in_the_policy_is_refused_before_anything_is_computed(
    tmp_path, reference_dir
):
    settings = {
        "network": dataclasses.replace(small.NETWORK, dropout_rate=0.5),
        "initial_checkpoint_path": str(reference_dir),
    }
    with pytest.raises(ConfigError, match="set DROPOUT_RATE = 0"):
        run(tmp_path, DROV(), **settings)
    assert not list(tmp_path.iterdir())


def test_a_reward_that_is_not_finite_stops_the_run(tmp_path, reference_dir):
    with pytest.raises(TrainingError, match="loss is nan in the step from 1 to 2"):
        run(
            tmp_path,
            DROV(),
            train_dataset_cfg=ArrayDataset(bad_reward=float("nan")),
            initial_checkpoint_path=str(reference_dir),
        )
    assert not list(tmp_path.glob("checkpoint_*"))
    report = json.loads((tmp_path / "non_finite_step_1.json").read_text())
    assert report["step"] == 1
    assert report["terms"]["loss"] == "nan"
    assert {"record": "record 13", "reward": "nan"} in report["records"]
    assert len(report["records"]) == 8


@pytest.mark.slow
def test_steps_that_are_not_finite_can_be_skipped(tmp_path, reference_dir):
    state = run(
        tmp_path,
        DROV(),
        steps=12,
        train_dataset_cfg=ArrayDataset(bad_reward=float("inf")),
        initial_checkpoint_path=str(reference_dir),
        on_non_finite="skip",
    )
    assert all(np.isfinite(leaf).all() for leaf in small.leaves(state))
    records = read_metrics(tmp_path)
    assert [record["skipped_steps"] for record in records] == [1, 1, 0]
    assert all(np.isfinite(record["loss"]) for record in records)
    assert records[0]["num_trajectories"] == 4 * 8


@pytest.mark.slow
def test_a_run_that_only_skips_is_stopped(tmp_path, reference_dir):
    with pytest.raises(TrainingError, match="the last 5 steps were all skipped"):
        run(
            tmp_path,
            DROV(),
            train_dataset_cfg=ArrayDataset(num_records=8, bad_reward=float("nan")),
            initial_checkpoint_path=str(reference_dir),
            on_non_finite="skip",
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [ALoL(), ALoLRefFree(), ALoLSeq(), ALoLKL(), AWR()],
    ids=lambda objective: type(objective).__name__,
)
def test_advantages_are_over_the_reference_s_value(tmp_path, reference_dir, objective):
    settings = {
        "initial_checkpoint_path": str(reference_dir),
        "value_fit": ValueFitConfig(num_heads=2, num_epochs=2),
        "value_fit_dataset_cfg": HELD_OUT,
    }
    run(tmp_path, objective, steps=20, **settings)
    report = json.loads((tmp_path / "value_of_reference.json").read_text())
    assert len(report["epochs"]) == 3
    first, *_, last = read_metrics(tmp_path)
    assert last["logps/policy"] > first["logps/policy"]
    if objective.needs.leftover:  # rewards are 1 and −1, V lies between
        assert first["leftover_rate"] == first["rewards/mean"] == 1
    else:
        assert first["rewards/mean"] < 0.5


def test_advantages_without_held_out_data_are_refused(tmp_path, reference_dir):
    with pytest.raises(ConfigError, match="ALoL fits the value .* EVAL_DATASET"):
        run(tmp_path, ALoL(), initial_checkpoint_path=str(reference_dir))
    with pytest.raises(ConfigError, match="ALoLRefFree reads .* INITIAL_CHECKPOINT"):
        run(tmp_path, ALoLRefFree())
    with pytest.raises(ConfigError, match="'often' .SAMPLING. is unknown"):
        run(tmp_path, sampling="often")


@pytest.mark.slow
def test_a_running_shift_is_resumed_exactly(tmp_path, reference_dir):
    settings = {"initial_checkpoint_path": str(reference_dir)}
    whole = run(tmp_path / "whole", BCO(beta=0.5), steps=10, **settings)
    run(tmp_path / "parts", BCO(beta=0.5), steps=5, **settings)
    parts = run(tmp_path / "parts", BCO(beta=0.5), steps=10, **settings)
    assert float(whole.running["batches"]) == 10
    assert float(whole.running["shift"]) != 0
    for a, b in zip(small.leaves(whole), small.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_url_is_no_model_folder():
    with pytest.raises(ConfigError, match="MODEL_DIR = 'gs://bucket/run' is a URL"):
        run("gs://bucket/run")


@pytest.mark.parametrize(
    ("objective", "group_size", "batch_size", "message"),
    [
        (DPO(), None, 8, "DPO compares responses .*GROUP_SIZE"),
        (KTO(), 2, 8, "KTO puts each response under another's prompt"),
        (ALoL(), 2, 8, "cannot be grouped"),
        (KTO(), None, 1, "KTO .* raise BATCH_SIZE"),
    ],
)
def test_groups_and_objectives_must_fit(objective, group_size, batch_size, message):
    model = FeedbackModel(network=small.NETWORK, objective=objective)
    dataset = types.SimpleNamespace(group_size=group_size, batch_size=batch_size)
    with pytest.raises(ConfigError, match=message):
        check_groups(model, dataset, "none")


@pytest.mark.parametrize("objective", [KTO(1.0), BCO(2.0), APOZero(-1.5), PMPO(5.0)])
def test_one_class_alone_is_refused(tmp_path, reference_dir, objective):
    with pytest.raises(DataError, match="all 48 rewards lie .* the threshold"):
        run(tmp_path, objective, initial_checkpoint_path=str(reference_dir))


def test_data_that_runs_out_stops_the_run(tmp_path):
    with pytest.raises(TrainingError, match="ran out at step 6"):
        run(tmp_path, train_dataset_cfg=ArrayDataset(num_epochs=1))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"objective": DROV()}, ConfigError, "INITIAL_CHECKPOINT_PATH"),
        ({"num_microbatches": 0}, ConfigError, "NUM_MICROBATCHES"),
        ({"gradient_sum_dtype": "bfloat16"}, ConfigError, "has no effect"),
        ({"gradient_sum_dtype": "float16"}, ConfigError, "GRADIENT_SUM_DTYPE"),
        ({"compiler_options": {"xla": 1}}, ConfigError, "give them by platform"),
        (
            {"compiler_options": {"cpu": {"xla_no_such": True}}},
            ConfigError,
            "the compiler of cpu does not take xla_no_such = True",
        ),
        ({"log_period": 0}, ConfigError, "LOG_PERIOD"),
        ({"watchdog_seconds": 0}, ConfigError, "WATCHDOG_SECONDS"),
        ({"on_non_finite": "ignore"}, ConfigError, "use 'stop' or 'skip'"),
        (
            {"objective": DROV(), "initial_checkpoint_path": "/no/such/folder"},
            CheckpointError,
            "no checkpoint at /no/such/folder: there is no such folder",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        run(tmp_path, **changes)


def test_a_checkpoint_of_another_size_is_refused(tmp_path, reference_dir):
    network = dataclasses.replace(small.NETWORK, mlp_dim=32)
    with pytest.raises(CheckpointError, match=r"has shape \(16, 24\), the model needs"):
        run(
            tmp_path,
            DROV(),
            network=network,
            initial_checkpoint_path=str(reference_dir),
        )


def test_a_model_folder_of_another_size_is_refused(tmp_path):
    run(tmp_path, steps=5)
    network = dataclasses.replace(small.NETWORK, mlp_dim=32)
    with pytest.raises(
        CheckpointError, match=r"mlp.wi_0.kernel has shape \(16, 24\), this"
    ):
        run(tmp_path, network=network, steps=10)


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        load_params(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    folder = tmp_path / "checkpoint_3" / "state"
    folder.mkdir(parents=True)
    (folder / "_METADATA").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="checkpoint_3 cannot be read"):
        load_params(tmp_path)
