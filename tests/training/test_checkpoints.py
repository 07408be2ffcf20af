"""Which checkpoints are kept, and which settings about that are refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from array_data import ArrayDataset
from training_runs import run

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.objectives import KTO, RPO, ALoL
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.state import TrainState

NAN, INF = float("nan"), float("inf")
STATE = TrainState(step=np.int32(0), params={"w": jnp.zeros(2)}, opt_state={})


def kept(folder, values, *, reopened=False, metric="eval/loss", **config):
    """The steps left after steps 1, 2, … of these held-out values; None: no evaluation."""
    config = CheckpointConfig(keep=1, best_metric=metric, **config)
    checkpointer = Checkpointer(folder, config)
    for step, value in enumerate(values, start=1):
        evaluation = {} if value is None else {"eval/other": 0.0, metric: value}
        save(checkpointer, step, evaluation)
        if reopened:
            checkpointer.close()
            checkpointer = Checkpointer(folder, config)
    checkpointer.close()
    return steps(folder)


def save(checkpointer, step, evaluation):
    state = dataclasses.replace(STATE, step=np.int32(step))
    checkpointer.save(state, RunProgress(evaluation=evaluation))


def steps(folder):
    return sorted(int(path.name.split("_")[1]) for path in folder.glob("checkpoint_*"))


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [3, 1, NAN, 2, 5], 2),
        ("max", [3, 7, NAN, 2, 5], 2),
        ("min", [3, 1, INF, -INF, 5], 2),
        ("max", [3, 7, INF, -INF, 5], 2),
        ("max", [NAN, 1, None, NAN], 2),
        ("min", [NAN, None, INF], 3),
    ],
)
def test_the_best_finite_evaluation_is_kept(tmp_path, mode, values, best):
    expected = sorted({best, len(values)})
    assert kept(tmp_path, values, best_mode=mode) == expected


def test_the_best_is_known_again_after_a_restart(tmp_path):
    assert kept(tmp_path, [3, 1, NAN, 2, 5], reopened=True) == [2, 5]


def test_an_evaluation_that_comes_after_its_save_ranks_it(tmp_path):
    config = CheckpointConfig(keep=1)
    checkpointer = Checkpointer(tmp_path, config)
    save(checkpointer, 1, {"eval/loss": 2.0})
    save(checkpointer, 2, {})  # its evaluation was cut short
    checkpointer.close()
    assert steps(tmp_path) == [1, 2]
    checkpointer = Checkpointer(tmp_path, config)
    save(checkpointer, 2, {"eval/loss": 1.0})
    assert steps(tmp_path) == [2]
    assert checkpointer.progress(STATE).evaluation == {"eval/loss": 1.0}
    save(checkpointer, 3, {"eval/loss": 3.0})
    checkpointer.close()
    assert steps(tmp_path) == [2, 3]


@pytest.mark.parametrize("damage", ["{", "[]", '{"window": []}', '"text"', None])
def test_a_damaged_record_of_a_run_is_a_sentence(tmp_path, damage):
    checkpointer = Checkpointer(tmp_path, CheckpointConfig())
    save(checkpointer, 2, {})
    checkpointer.wait()
    path = tmp_path / "checkpoint_2" / "run" / "metadata"
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    with pytest.raises(CheckpointError, match="record of its run.* cannot be read"):
        checkpointer.progress(STATE)
    checkpointer.close()


def test_several_best(tmp_path):
    assert kept(tmp_path, [2, NAN, 1, 3, NAN], keep_best=2) == [1, 3, 5]


def test_another_metric_ranks_what_is_there_already(tmp_path):
    assert kept(tmp_path, [1, 3], keep_best=2) == [1, 2]
    config = CheckpointConfig(keep=1, keep_best=2, best_metric="eval/new")
    checkpointer = Checkpointer(tmp_path, config)
    save(checkpointer, 3, {"eval/new": 5.0})
    save(checkpointer, 4, {"eval/new": 6.0})
    checkpointer.close()
    assert steps(tmp_path) == [3, 4]


@pytest.mark.parametrize(
    ("objective", "metric", "near"),
    [
        (None, "eval/los", "eval/loss"),
        (None, "loss", "eval/loss"),
        (KTO(), "eval/k", "eval/kl"),
        (ALoL(), "eval/advantages", "eval/advantage"),
        (RPO(), "eval/residuals", "eval/residual"),
    ],
)
def test_a_metric_that_is_never_reported_is_refused_before_training(
    tmp_path, reference_dir, objective, metric, near
):
    # Enough records that some share a prompt, for RPO.
    held_out = ArrayDataset(num_records=64, num_epochs=1, split="validation", seed=1)
    settings = {"train_eval_dataset_cfg": held_out}
    if objective is not None:
        settings["initial_checkpoint_path"] = str(reference_dir)
    message = f"best_metric = '{metric}' ranks .* Near names: .*{near}"
    with pytest.raises(ConfigError, match=message):
        run(
            tmp_path / "run",
            objective,
            checkpoint_cfg=CheckpointConfig(best_metric=metric),
            **settings,
        )
    assert not list(tmp_path.glob("run/*"))


def test_a_metric_that_an_evaluation_leaves_out_is_refused(tmp_path):
    checkpointer = Checkpointer(tmp_path, CheckpointConfig(best_metric="eval/kl"))
    with pytest.raises(ConfigError, match="It reports eval/loss"):
        save(checkpointer, 1, {"eval/loss": 1.0})
    checkpointer.close()


@pytest.mark.parametrize("setting", [{"best_metric": "eval/kl"}, {"best_mode": "max"}])
def test_ranking_without_an_evaluation_is_refused(tmp_path, setting):
    class Unread(ArrayDataset):
        def facts(self):
            raise AssertionError("the split was read, which may take an hour")

    settings = {"checkpoint_cfg": CheckpointConfig(**setting)}
    with pytest.raises(ConfigError, match="no effect, since nothing is evaluated"):
        run(tmp_path / "run", train_dataset_cfg=Unread(), **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "setting", [{"keep": 0}, {"keep_best": -1}, {"best_mode": "least"}, {"period": 0}]
)
def test_settings_that_cannot_be_used_are_refused(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"CheckpointConfig.{name} = "):
        CheckpointConfig(**setting)
