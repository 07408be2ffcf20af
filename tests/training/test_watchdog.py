"""The watchdog, in a process of its own: it ends it."""

import os
import pathlib
import subprocess
import sys

import pytest
import small

STUCK = """
import threading, time
from dro_jax.training.watchdog import Watchdog

def waits_for_ever():
    threading.Event().wait()

threading.Thread(target=waits_for_ever, daemon=True).start()
with Watchdog({seconds}) as watchdog:
    for _ in range(4):
        time.sleep(0.3)
        watchdog.reset()
    {then}
print("done")
"""


def run(seconds, then):
    source = STUCK.format(seconds=seconds, then=then)
    command = [sys.executable, "-c", source]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )


def test_a_stuck_run_shows_all_stacks_and_fails():
    result = run(1.0, "time.sleep(50)")
    assert result.returncode == 1
    assert "Timeout" in result.stderr
    assert "waits_for_ever" in result.stderr
    assert 'File "<string>"' in result.stderr and "in <module>" in result.stderr


def test_a_run_that_moves_is_left_alone():
    for seconds in (1.0, None):
        result = run(seconds, "pass")
        assert (result.returncode, result.stdout) == (0, "done\n")


def test_nothing_watches_after_the_block():
    assert run(1.0, "pass\ntime.sleep(1.5)").returncode == 0


HANGING = """
import dataclasses, sys, time
import small
from array_data import ArrayDataset
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training import optimizers, schedules
from dro_jax.training.train import train

class Hanging(ArrayDataset):
    def batches(self, start=(0, 0), shard=(0, 1)):
        for number, batch in enumerate(super().batches(start, shard)):
            if number == 3:
                waits_for_data()
            yield batch

def waits_for_data():
    time.sleep(500)

train(
    model=FeedbackModel(network=small.NETWORK, objective=NLL()),
    model_dir=sys.argv[1],
    train_dataset_cfg=Hanging(),
    total_steps=10,
    optimizer=optimizers.OptimizerConfig(
        optimizers.adamw(), schedules.learning_rate_schedule(learning_rate=1e-3)
    ),
    watchdog_seconds=20,
    tensorboard=False,
)
"""


@pytest.mark.slow
def test_training_that_hangs_fails(tmp_path):
    helpers = str(pathlib.Path(small.__file__).parent)
    result = subprocess.run(
        [sys.executable, "-c", HANGING, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": helpers},
    )
    assert result.returncode == 1
    assert "waits_for_data" in result.stderr
