"""Somebody watches a run's metrics: told as written, and able to end it early."""

import json
import math

import numpy as np
import pytest
import small
from training_runs import HELD_OUT, run

from dro_jax.errors import ConfigError, Pruned
from dro_jax.training.checkpoints import load_params
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.run_files import OWNER, PRUNED
from dro_jax.training.watched_metrics import MetricWatch


class Watching:
    """Keeps what it is told, and ends the run at a step."""

    def __init__(self, until=None, error=None):
        self.until, self.error = until, error or Pruned("others do better")
        self.told = []

    def __call__(self, step, metrics):
        self.told.append({"step": step} | dict(metrics))
        if step == self.until:
            raise self.error


def untimed(folder):
    return [
        {name: x for name, x in line.items() if not name.endswith("per_second")}
        for line in read_metrics(folder)
    ]


def assert_same_run(one, other):
    for a, b in zip(
        small.leaves(load_params(one)), small.leaves(load_params(other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert untimed(one) == untimed(other)


def test_a_watched_run_is_bitwise_the_same_ended_early_and_taken_up_or_not(tmp_path):
    """One test, since each run compiles its step."""
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    run(whole, train_eval_dataset_cfg=HELD_OUT)

    watching = Watching(until=10)
    with pytest.raises(Pruned, match="^others do better$"):
        run(ended, train_eval_dataset_cfg=HELD_OUT, on_metrics=watching)
    assert watching.told == read_metrics(ended)
    assert [line["step"] for line in watching.told] == [5, 10]
    assert "eval/loss" in watching.told[1]
    said = json.loads((ended / PRUNED).read_text())
    assert said == {"step": 10, "reason": "others do better"}
    assert (ended / "checkpoint_10").is_dir()
    assert not (ended / OWNER).exists()

    # Whoever goes on with it hears what it wrote before, and may end it for that.
    with pytest.raises(Pruned):
        run(ended, train_eval_dataset_cfg=HELD_OUT, on_metrics=Watching(until=5))
    assert [line["step"] for line in read_metrics(ended)] == [5, 10]
    assert json.loads((ended / PRUNED).read_text())["step"] == 10

    # A run at its last step is finished, whatever is said of it.
    watching = Watching(until=20)
    run(ended, train_eval_dataset_cfg=HELD_OUT, on_metrics=watching)
    assert watching.told == read_metrics(ended)
    assert not (ended / PRUNED).exists()
    assert_same_run(whole, ended)


def test_what_was_not_finite_is_told_so_after_a_resume():
    watching = Watching()
    watch = MetricWatch(watching)
    watch.tell_earlier(lambda: [{"step": 3, "loss": None, "kl": 0.5}])
    (line,) = watching.told
    assert line["step"] == 3 and line["kl"] == 0.5 and math.isnan(line["loss"])
    assert watch.reason is None


def test_an_error_of_the_watcher_is_no_pruning():
    watch = MetricWatch(Watching(until=1, error=ConfigError("no metric of that name")))
    with pytest.raises(ConfigError, match="no metric of that name"):
        watch.tell(1, {})
    assert watch.reason is None


def test_nobody_needs_to_watch():
    watch = MetricWatch()
    watch.tell(1, {"loss": 1.0})
    watch.tell_earlier(lambda: pytest.fail("read for nobody"))
    assert watch.reason is None
