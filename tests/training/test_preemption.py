"""Ctrl-C: before there is anything to save, while there is, and once more."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dro_jax.training.preemption import listening

TWICE = """
import os, signal, threading, time
from dro_jax.training.preemption import listening
with listening() as stop:
    stop.now()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
"""
# For minutes this does not return to Python's own loop; nor does a compilation.
STUCK = """
import hashlib, os, signal, threading
from dro_jax.training.preemption import listening
with listening() as stop:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)
"""


def test_a_ctrl_c_before_anything_is_to_be_saved_interrupts():
    with listening() as stop, pytest.raises(KeyboardInterrupt):
        stop.stop_now(5)  # a run that goes on from step 5, whose next step compiles
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_a_ctrl_c_in_a_step_is_a_request(capfd):
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    with listening() as stop:
        stop.stop_now(5)
        assert not stop.stop_now(6)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.stop_now(7)
    assert "Once more ends at once" in capfd.readouterr().err
    stopped = stop.stopped("here")
    assert (stopped.code, str(stopped)) == (130, "stopped by Ctrl-C here")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said"),
    [(TWICE, "ended at once"), (STUCK, "before there was anything to save")],
    ids=["twice", "in C"],
)
def test_the_process_ends_at_once(script, said):
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 130
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begin < 30
