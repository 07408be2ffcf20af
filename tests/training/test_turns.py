"""Two processes that want one folder: the second waits, and is told for whom."""

import subprocess
import sys
import threading

import pytest

from dro_jax.training.preemption import Preempted, StopSignal
from dro_jax.training.turns import in_turn, one_computes
from dro_jax.training.watchdog import Watchdog

_HOLD = """
import sys
from dro_jax.training.run_owner import owned
with owned(sys.argv[1]):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder at which another process is at work."""
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "owned\n"
    yield tmp_path
    other.kill()
    other.communicate()


def test_who_waits_for_another_run_stops_when_it_is_told_to(held):
    stop = StopSignal()
    stop.request()
    with (
        pytest.raises(Preempted, match="waiting for the cache, which another run"),
        one_computes(held, "the cache", stop, Watchdog(None)),
    ):
        pass


def test_a_folder_is_waited_for_while_another_is_at_work_there(tmp_path, capfd):
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "owned\n"
        entered = threading.Event()

        def enter():
            with in_turn(tmp_path, "the evaluation", poll_seconds=0.05):
                entered.set()

        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.5)
        other.communicate("")  # lets go of it
        assert entered.wait(30)
        waiting.join()
    finally:
        other.kill()
        other.communicate()
    said = capfd.readouterr().err
    assert said.count("waiting for another process") == 1
    assert f"the evaluation {tmp_path} is in use: process {other.pid}" in said


def test_what_this_process_owns_already_is_not_waited_for(tmp_path):
    with in_turn(tmp_path, "the evaluation"), in_turn(tmp_path, "the evaluation"):
        assert (tmp_path / "owner.json").is_file()
    assert not (tmp_path / "owner.json").exists()
