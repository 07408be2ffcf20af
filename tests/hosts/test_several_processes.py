"""The harness itself: what it says of processes that end, hang or are killed."""

import signal

import pytest
from several_processes import execute, run_together

# Rank 1 ends; rank 0 hangs where neither SIGTERM nor Ctrl-C reaches it.
HANGS = """
import signal, sys, time, jax
print("here is", jax.process_index(), sys.argv[1])
if jax.process_index() == 0:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    print("hanging", flush=True)
    time.sleep(600)
print("on without the other")
import os
os._exit(3)
"""
SMALL = {"count": 2, "devices": 1, "timeout": 120}


def test_what_hangs_is_killed_and_told_with_its_log(start):
    processes = start(execute, HANGS, "word")
    with pytest.raises(
        TimeoutError, match=r"ranks \[0\] still ran(?s:.*)here is 0 word"
    ):
        processes.until(lambda: "hanging" in processes.log(0), timeout=60)
        processes.wait(timeout=3)
    assert [processes.status(rank) for rank in range(2)] == [128 + signal.SIGKILL, 3]
    assert processes.running == []
    assert "on without the other" in processes.log(1)


def test_a_failure_shows_the_logs_of_all():
    with pytest.raises(
        AssertionError, match=r"\[1, 1\](?s:.*)rank 1\n(?s:.*)of its own"
    ):
        run_together(execute, "raise ValueError('of its own')", **SMALL)


def test_a_stopped_process_is_killed_too(start):
    processes = start(execute, "import time; time.sleep(600)", ranks=[1])
    processes.send(1, signal.SIGSTOP)
    processes.kill()
    assert processes.status(1) == 128 + signal.SIGKILL
