"""What ends one process ends all: with its words, within seconds, and no trace of gloo."""

import pathlib
import time

import pytest
from joined_processes import command, executed_joined
from small_gin import SIZES

# The others wait where the one that fails will never come.
PROGRAM = """
import sys, time
import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils
from dro_jax.errors import DataError
from dro_jax.training import hosts

def fails():
    if hosts.index() != 1:
        return hosts.index()
    {fails}

hosts.meet("begin")
print("begun", flush=True)
{work}
"""
REFUSES = "raise DataError('log.jsonl, line 3: no reward')"
CRASHES = "raise OSError('the disk is gone')"
# In gloo, whose own patience is half a minute; the news come before.
COLLECTIVE = "fails(); multihost_utils.sync_global_devices('never')"


def ended(start, **texts):
    processes = start(executed_joined, PROGRAM.format(**texts))
    processes.until(lambda: all("begun" in processes.log(n) for n in (0, 1)), 60)
    began = time.monotonic()
    statuses = processes.wait(60)
    assert time.monotonic() - began < 15, processes.ends_of_logs()
    return statuses, [processes.log(rank) for rank in (0, 1)]


@pytest.mark.parametrize(
    "work", [COLLECTIVE, "hosts.agree(fails)"], ids=["collective", "agreed"]
)
def test_a_refusal_of_one_is_that_of_all(start, work):
    statuses, logs = ended(start, fails=REFUSES, work=work)
    assert statuses == [2, 2], logs
    assert "process 1 on " in logs[0] and "log.jsonl, line 3: no reward" in logs[0]
    assert logs[1].endswith("log.jsonl, line 3: no reward\n")
    assert not any("Traceback" in log for log in logs)


def test_a_crash_of_one_ends_the_others_as_aborted_with_their_stacks(start):
    statuses, logs = ended(start, fails=CRASHES, work=COLLECTIVE)
    assert statuses == [134, 1], logs
    assert "crashed: OSError: the disk is gone" in logs[0]
    assert "sync_global_devices" in logs[0]  # where it was
    assert "Traceback" in logs[1]


def test_the_first_ones_crash_is_told_too(start):
    fails = "return"
    work = "hosts.first_says(lambda: open('/no/such/file'))"
    statuses, logs = ended(start, fails=fails, work=work)
    assert statuses == [1, 134], logs
    assert "No such file" in logs[1]


FILES = ("models/tiny", "objectives/nll", "tasks/support_desk", "runs/train")


def train(folder, *flags):
    return [
        "train",
        *(f"--gin_file=gin_configs/{name}.gin" for name in FILES),
        *(f"--gin.{name}={value}" for name, value in SIZES.items()),
        f"--gin.MODEL_DIR={folder}",
        *flags,
    ]


def test_the_first_looks_at_the_folder_for_all(start, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("{}\n")
    flags = train(folder, "--gin.TRAIN_STEPS=3")
    processes = start(command, [flags, flags])
    assert processes.wait(120) == [2, 2], processes.ends_of_logs()
    for rank in (0, 1):
        assert "holds a run but no config.gin" in processes.log(rank)
    assert [path.name for path in folder.iterdir()] == ["metrics.jsonl"]


def test_a_folder_that_is_not_shared_is_refused_at_the_start(start, tmp_path):
    program = """
import sys
from dro_jax.training import hosts
from dro_jax.training.run_owner import owned
folder = sys.argv[1] + "/" + ("shared" if hosts.index() < 2 else "own")
with owned(folder, shared_seconds=1):
    raise AssertionError("not reached")
"""
    processes = start(executed_joined, program, str(tmp_path), count=3)
    assert processes.wait(60) == [2, 2, 2], processes.ends_of_logs()
    for rank in range(3):
        log = processes.log(rank)
        assert "is not one folder for all processes" in log
        assert "process 2 on " in log and "process 1 on " not in log.split("run: ")[1]
    assert not (tmp_path / "own").exists()
    assert not list(pathlib.Path(tmp_path / "shared").iterdir())


def test_processes_of_other_settings_are_refused(start, tmp_path):
    by_rank = [
        train(tmp_path / "run", f"--gin.TRAIN_STEPS={3 + n}", "--gin.WARMUP_STEPS=1")
        for n in (0, 1)
    ]
    processes = start(command, by_rank)
    assert processes.wait(120) == [2, 2], processes.ends_of_logs()
    for rank in (0, 1):
        assert "started with other settings" in processes.log(rank)
        assert "TRAIN_STEPS: 3 → 4" in processes.log(rank)
    assert not (tmp_path / "run" / "config.gin").exists()


def test_too_few_hosts_end_soon_and_name_those_missing(start, tmp_path):
    flags = train(tmp_path / "run", "--gin.TRAIN_STEPS=3", "--start_timeout=2")
    processes = start(command, [flags] * 3, count=3, ranks=[0, 2])
    assert processes.wait(60) == [2, 2], processes.ends_of_logs()
    for rank in (0, 2):
        assert "process 1 of 3 did not come within 2 s; here: 0 on" in processes.log(
            rank
        )
    assert not (tmp_path / "run").exists()
