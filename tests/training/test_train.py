"""The trainer whole: a reference by NLL, then each objective from it."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import CheckpointError, ConfigError, TrainingError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DRO, DROP, DROV, NLL
from dro_jax.training import optimizers, schedules
from dro_jax.training.checkpoints import CheckpointConfig, load_params
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.preemption import Preempted
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.train import train

DATA = ArrayDataset()
HELD_OUT = ArrayDataset(num_records=16, num_epochs=1, split="validation", seed=1)


def optimizer(rate=3e-3, kind=None):
    return optimizers.OptimizerConfig(
        kind or optimizers.adamw(),
        schedules.learning_rate_schedule(learning_rate=rate, warmup_steps=5),
        max_grad_norm=1.0,
    )


def run(model_dir, objective=None, *, steps=20, value=None, network=None, **changes):
    settings = {
        "train_dataset_cfg": DATA,
        "optimizer": optimizer(),
        "log_period": 5,
        "eval_period": 10,
        "checkpoint_cfg": CheckpointConfig(period=5),
        "tensorboard": False,
        "mesh": MeshConfig(data=1),
    }
    model = FeedbackModel(
        network=network or small.NETWORK, objective=objective or NLL(), value=value
    )
    return train(
        model=model,
        model_dir=str(model_dir),
        total_steps=steps,
        **(settings | changes),
    )


@pytest.fixture(scope="module")
def reference_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    run(folder, steps=60, train_eval_dataset_cfg=HELD_OUT)
    return folder


def test_nll_learns(reference_dir):
    records = read_metrics(reference_dir)
    assert [record["step"] for record in records] == list(range(5, 65, 5))
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]


def test_metrics_say_what_is_going_on(reference_dir):
    last = read_metrics(reference_dir)[-1]
    for name in ("loss", "grad_norm", "learning_rate", "num_tokens", "rewards/mean",
                 "logps/policy", "truncation_rate", "padding_fraction",
                 "steps_per_second", "tokens_per_second", "trajectories_per_second",
                 "eval/loss"):  # fmt: skip
        assert np.isfinite(last[name]), name
    assert last["num_trajectories"] == 5 * 8
    assert last["eval/num_trajectories"] == 16


def test_keeps_the_last_and_the_best_checkpoints(tmp_path):
    run(
        tmp_path,
        steps=30,
        train_eval_dataset_cfg=HELD_OUT,
        eval_period=5,
        checkpoint_cfg=CheckpointConfig(period=5, keep=1, keep_best=1, best_mode="max"),
    )
    kept = {int(path.name.split("_")[1]) for path in tmp_path.glob("checkpoint_*")}
    losses = {r["step"]: r["eval/loss"] for r in read_metrics(tmp_path)}
    assert kept == {30, max(losses, key=losses.get)}


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["cached", "frozen_copy"])
@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (DROV(0.3), None),
        (DRO(0.3), ValueConfig(network="shared_head")),
        (DROP(0.3), None),
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
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, reference_dir):
    settings = {"initial_checkpoint_path": str(reference_dir)}
    network = dataclasses.replace(small.NETWORK, dropout_rate=0.1)
    settings |= {"network": network, "step_zero_tolerance": 100.0}
    run(tmp_path / "whole", DROV(), steps=20, **settings)
    run(tmp_path / "parts", DROV(), steps=10, **settings)
    run(tmp_path / "parts", DROV(), steps=20, **settings)
    whole, parts = load_params(tmp_path / "whole"), load_params(tmp_path / "parts")
    for a, b in zip(small.leaves(whole), small.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = [
        [record["loss"] for record in read_metrics(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]


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


def test_dropout_in_the_policy_fails_the_step_zero_check(tmp_path, reference_dir):
    network = dataclasses.replace(small.NETWORK, dropout_rate=0.5)
    with pytest.raises(TrainingError, match="set DROPOUT_RATE = 0"):
        run(
            tmp_path,
            DROV(),
            network=network,
            initial_checkpoint_path=str(reference_dir),
        )


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


@dataclasses.dataclass(frozen=True)
class Terminating(ArrayDataset):
    """Sends the process SIGTERM with its batch of that number."""

    at: int = 0

    def batches(self, start=(0, 0)):
        for number, batch in enumerate(super().batches(start)):
            if number == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch


class Killing(Terminating):
    """Ends the run without ceremony instead."""

    def batches(self, start=(0, 0)):
        for number, batch in enumerate(ArrayDataset.batches(self, start)):
            if number == self.at:
                raise RuntimeError("killed")
            yield batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "held_out", "saved"),
    [
        (Terminating(at=7), HELD_OUT, 8),  # between two lines of the log
        (DATA, Terminating(**vars(HELD_OUT)), 10),  # in an evaluation
    ],
)
def test_sigterm_saves_and_the_next_run_is_the_same(tmp_path, data, held_out, saved):
    settings = {"steps": 20, "train_eval_dataset_cfg": HELD_OUT}
    settings |= {"checkpoint_cfg": CheckpointConfig(period=100)}
    run(tmp_path / "whole", **settings)
    changed = {"train_dataset_cfg": data, "train_eval_dataset_cfg": held_out}
    with pytest.raises(Preempted, match=f"SIGTERM after step {saved}") as caught:
        run(tmp_path / "parts", **(settings | changed))
    assert caught.value.code == 143
    # Killed once more, before it saves anything.
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", **settings, train_dataset_cfg=Killing(at=2))
    run(tmp_path / "parts", **settings)
    whole, parts = load_params(tmp_path / "whole"), load_params(tmp_path / "parts")
    for a, b in zip(small.leaves(whole), small.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "parts")


def timeless(folder):
    """The log without what depends on the clock."""
    return [
        {name: x for name, x in record.items() if not name.endswith("per_second")}
        for record in read_metrics(folder)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_dataset_cfg": ArrayDataset(seed=5)},
            "records: 48 from seed 0 → 48 from",
        ),
        ({"train_dataset_cfg": ArrayDataset(bad_reward=2.0)}, "rewards: None → 2.0"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(tmp_path, change, message):
    run(tmp_path, steps=5)
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, steps=10, **change)


@pytest.mark.slow
def test_a_run_does_not_go_on_from_another_reference(tmp_path, reference_dir):
    settings = {"objective": DROP(), "reference": "frozen_copy"}
    run(tmp_path, initial_checkpoint_path=str(reference_dir), steps=5, **settings)
    earlier = reference_dir / "checkpoint_55"
    with pytest.raises(CheckpointError, match="reference parameters: [0-9a-f]+ →"):
        run(tmp_path, initial_checkpoint_path=str(earlier), steps=10, **settings)


def test_a_checkpoint_is_ranked_by_its_own_evaluation(tmp_path):
    run(
        tmp_path,
        steps=25,
        train_eval_dataset_cfg=HELD_OUT,
        eval_period=10,
        checkpoint_cfg=CheckpointConfig(period=5, keep=1, keep_best=1, best_mode="max"),
    )
    kept = {int(path.name.split("_")[1]) for path in tmp_path.glob("checkpoint_*")}
    losses = {r["step"]: r.get("eval/loss") for r in read_metrics(tmp_path)}
    evaluated = {step: loss for step, loss in losses.items() if loss is not None}
    assert set(evaluated) == {10, 20, 25}
    assert kept == {25, max(evaluated, key=evaluated.get)}


def test_a_checkpoint_restores_on_another_mesh(tmp_path):
    run(tmp_path / "whole", steps=20)
    run(tmp_path / "moved", steps=10)
    run(tmp_path / "moved", steps=20, mesh=MeshConfig(data=4, model=2, fsdp=True))
    whole, moved = read_metrics(tmp_path / "whole"), read_metrics(tmp_path / "moved")
    assert [record["step"] for record in moved] == [5, 10, 15, 20]
    for a, b in zip(whole, moved, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
        np.testing.assert_allclose(a["rewards/mean"], b["rewards/mean"])


def test_data_that_runs_out_stops_the_run(tmp_path):
    with pytest.raises(TrainingError, match="ran out at step 6"):
        run(tmp_path, train_dataset_cfg=ArrayDataset(num_epochs=1))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"objective": DROV()}, ConfigError, "INITIAL_CHECKPOINT_PATH"),
        ({"reference": "cached"}, ConfigError, "NLL uses no reference"),
        ({"num_microbatches": 0}, ConfigError, "NUM_MICROBATCHES"),
        ({"log_period": 0}, ConfigError, "LOG_PERIOD"),
        ({"watchdog_seconds": 0}, ConfigError, "WATCHDOG_SECONDS"),
        ({"on_non_finite": "ignore"}, ConfigError, "use 'stop' or 'skip'"),
        ({"reference_cache_dir": "/tmp"}, ConfigError, "REFERENCE_CACHE_DIR"),
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
    with pytest.raises(CheckpointError, match="does not fit this run"):
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
