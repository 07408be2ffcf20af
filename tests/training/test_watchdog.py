"""The watchdog, in a process of its own: it ends it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import small

from dro_jax.data.store.progress import Progress
from dro_jax.exit_codes import STUCK, shell_status
from dro_jax.training.watchdog import Watchdog

MOVING = """
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
    source = MOVING.format(seconds=seconds, then=then)
    command = [sys.executable, "-c", source]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )


def test_data_that_are_prepared_are_no_hang(monkeypatch, tmp_path):
    resets = []
    monkeypatch.setattr(Watchdog, "reset", lambda self: resets.append(self))
    progress = Progress("task", "train", tmp_path)
    with Watchdog(None) as watchdog:
        progress.told(1000)
        progress.waits()
    progress.told(2000)  # of nobody's concern
    assert resets == [watchdog] * 3


@pytest.mark.parametrize(
    "hangs",
    ["time.sleep(50)", "import ctypes; ctypes.PyDLL(None).sleep(50)"],
    ids=["waiting", "in C, with the interpreter's lock"],
)
def test_a_stuck_run_shows_all_stacks_and_fails(hangs):
    result = run(1.0, hangs)
    assert shell_status(result.returncode) == STUCK.number == 142
    assert "Timeout" in result.stderr
    assert "waits_for_ever" in result.stderr
    assert 'File "<string>"' in result.stderr and "in <module>" in result.stderr


def test_a_run_that_moves_is_left_alone():
    for seconds in (1.0, None):
        result = run(seconds, "pass")
        assert (result.returncode, result.stdout) == (0, "done\n")


def test_nothing_watches_after_the_block():
    assert run(0.5, "pass\ntime.sleep(3)").returncode == 0


def test_a_stopped_process_ends_when_it_goes_on():
    source = MOVING.format(seconds=1.0, then="print('up', flush=True); time.sleep(50)")
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        process.send_signal(signal.SIGCONT)
        assert shell_status(process.wait(timeout=1.5)) == STUCK.number


def test_another_alarm_is_given_back():
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        handler = signal.getsignal(signal.SIGALRM)
        with Watchdog(60):
            assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    finally:
        signal.signal(signal.SIGALRM, before)


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
    assert shell_status(result.returncode) == STUCK.number
    assert "waits_for_data" in result.stderr
