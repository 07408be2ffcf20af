"""Two processes that want one folder: the second waits, and is told for whom."""

import threading

import pytest
from folder_owner import other_owner

from dro_jax.training.preemption import Preempted, StopSignal
from dro_jax.training.turns import in_turn, one_computes
from dro_jax.training.watchdog import Watchdog


@pytest.fixture
def other(tmp_path):
    """Another process, which is at work in the folder."""
    with other_owner(tmp_path) as process:
        yield process


def test_who_waits_for_another_run_stops_when_it_is_told_to(other, tmp_path):
    stop = StopSignal()
    stop.request()
    with (
        pytest.raises(Preempted, match="waiting for the cache, which another run"),
        one_computes(tmp_path, "the cache", stop, Watchdog(None)),
    ):
        pass


def test_a_folder_is_waited_for_while_another_is_at_work_there(other, tmp_path, capfd):
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
    said = capfd.readouterr().err
    assert said.count("waiting for another process") == 1
    assert f"the evaluation {tmp_path} is in use: process {other.pid}" in said


def test_what_this_process_owns_already_is_not_waited_for(tmp_path):
    with in_turn(tmp_path, "the evaluation"), in_turn(tmp_path, "the evaluation"):
        assert (tmp_path / "owner.json").is_file()
    assert not (tmp_path / "owner.json").exists()
