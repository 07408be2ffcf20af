"""Which processes still run."""

import os
import subprocess
import sys

from dro_jax.processes import has_ended, process_start, process_world


def test_this_process_runs():
    start = process_start(os.getpid())
    assert not has_ended(os.getpid(), start)
    assert has_ended(os.getpid(), str(int(start) - 1))


def test_an_ended_process_has_ended_before_and_after_it_is_waited_for():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = process_start(child.pid)
    assert not has_ended(child.pid, start)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(child.pid, start)
    child.wait()
    assert has_ended(child.pid, start)


def test_numbers_count_in_one_world_on_one_machine():
    assert process_world() == process_world() != ""
