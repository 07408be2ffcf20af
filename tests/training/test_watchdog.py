"""The watchdog, in a process of its own: it ends it."""

import subprocess
import sys

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
