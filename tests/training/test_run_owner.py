"""Who trains in a folder: one process at a time, and the dead hold nothing."""

import dataclasses
import errno
import json
import os
import threading
import time

import pytest
from folder_owner import other_owner

from dro_jax.errors import ConfigError
from dro_jax.training.run_files import OWNER
from dro_jax.training.run_owner import Owner, owned


@pytest.fixture
def other(tmp_path):
    """Another process that owns the folder."""
    with other_owner(tmp_path) as process:
        yield process


def elsewhere(folder, **changes):
    """An owner on another host, as it would write itself down."""
    there = dataclasses.replace(Owner.this(), host="elsewhere", process=7, **changes)
    (folder / OWNER).write_text(json.dumps(dataclasses.asdict(there)))
    return there


def enter(folder, **settings):
    with owned(folder, **settings):
        return json.loads((folder / OWNER).read_text())


def test_a_second_process_is_refused_until_the_first_has_ended(other, tmp_path, capsys):
    with pytest.raises(ConfigError, match="is in use") as refused:
        enter(tmp_path)
    message = str(refused.value)
    assert f"process {other.pid} on {Owner.this().host}" in message
    assert "last heard of 0 s ago" in message and str(tmp_path) in message
    other.communicate("")
    assert not (tmp_path / OWNER).exists()
    assert enter(tmp_path)["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_killed_process_owns_nothing(other, tmp_path, capsys):
    other.kill()  # and not waited for: a zombie is dead too
    while enter_or_none(tmp_path) is None:
        time.sleep(0.05)
    assert f"process {other.pid} on" in capsys.readouterr().err


def enter_or_none(folder):
    try:
        return enter(folder)
    except ConfigError:
        return None


def test_a_later_process_of_the_same_number_is_another(tmp_path, capsys):
    """The number is this very process's, which began at another time."""
    earlier = dataclasses.replace(Owner.this(), process_start="1", token="0")
    (tmp_path / OWNER).write_text(json.dumps(dataclasses.asdict(earlier)))
    assert enter(tmp_path)["token"] != "0"
    assert "has ended without a word" in capsys.readouterr().err


def test_silence_elsewhere_is_waited_for_and_then_taken_for_death(tmp_path, capsys):
    elsewhere(tmp_path)
    assert enter(tmp_path, silent_seconds=0.5)["process"] == os.getpid()
    said = capsys.readouterr().err
    assert "belongs to process 7 on elsewhere" in said
    assert "waiting for a sign of life" in said and "taken for dead" in said


def test_a_sign_of_life_elsewhere_refuses(tmp_path, capsys):
    elsewhere(tmp_path)
    alive = threading.Timer(0.3, os.utime, args=(tmp_path / OWNER,))
    alive.start()
    with pytest.raises(ConfigError, match="process 7 on elsewhere has been working"):
        enter(tmp_path, silent_seconds=60)
    alive.join()
    assert "waiting for a sign of life" in capsys.readouterr().err


def test_the_owner_touches_its_file(tmp_path):
    with owned(tmp_path, touch_seconds=0.02):
        os.utime(tmp_path / OWNER, (0, 0))
        while (tmp_path / OWNER).stat().st_mtime == 0:
            time.sleep(0.01)


@pytest.mark.parametrize("change", ["taken", "deleted"])
def test_an_owner_that_lost_its_folder_ends(change, tmp_path):
    lost = threading.Event()
    with owned(tmp_path, touch_seconds=0.02, on_loss=lambda _: lost.set()):
        if change == "taken":
            there = elsewhere(tmp_path)
        else:
            (tmp_path / OWNER).unlink()
        assert lost.wait(10)
    # What is another's stays.
    if change == "taken":
        assert json.loads((tmp_path / OWNER).read_text())["token"] == there.token


def test_a_run_within_the_owner_s_own_work_is_the_owner(tmp_path):
    with owned(tmp_path):
        enter(tmp_path)
        enter(tmp_path / ".")
        assert (tmp_path / OWNER).exists()


def test_an_error_gives_the_folder_back(tmp_path):
    with pytest.raises(ZeroDivisionError), owned(tmp_path):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_of_many_that_come_at_once_one_gets_a_dead_owner_s_folder(
    links, tmp_path, monkeypatch
):
    if not links:  # as on some shared file systems
        monkeypatch.setattr(os, "link", _no_links)
    elsewhere(tmp_path)
    os.utime(tmp_path / OWNER, (0, 0))
    inside, most, refused = [], [], []
    start, end = threading.Barrier(8), threading.Event()

    def come():
        start.wait()
        try:
            with owned(tmp_path):
                inside.append(1)
                most.append(len(inside))
                end.wait(60)
                inside.pop()
        except ConfigError:
            refused.append(1)
        if len(refused) == 7:
            end.set()

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and len(refused) == 7
    assert list(tmp_path.iterdir()) == []


def _no_links(*_):
    raise OSError(errno.ENOTSUP, "not supported")


def test_a_turn_that_a_kill_left_keeps_nobody_out(tmp_path):
    elsewhere(tmp_path)
    (tmp_path / f"{OWNER}.partial").touch()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    assert enter(tmp_path)["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_message():
    with pytest.raises(ConfigError, match="MODEL_DIR = '/proc/x' cannot be made"):
        enter("/proc/x")
