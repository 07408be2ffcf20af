"""Trials on a real PostgreSQL server."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import postgres_server
import pytest
from sweep_worker import STAGE, STEPS, planned

from dro_jax.errors import ConfigError, StorageError
from dro_jax.sweeps import study
from dro_jax.sweeps.trial_store import open_store

WORKER = pathlib.Path(__file__).parents[1] / "helpers/sweep_worker.py"
PROGRAMS = postgres_server.binaries()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROGRAMS is None,
        reason="PostgreSQL's server is not installed: apt-get install postgresql",
    ),
]


@pytest.fixture(scope="module")
def server():
    with postgres_server.server(PROGRAMS) as running:
        yield running


@pytest.fixture
def opened(server):
    with contextlib.ExitStack() as stack:
        yield lambda *where: stack.enter_context(open_store(server.url, *where))


def test_three_workers_that_meet_an_empty_database_lose_one(server, opened, tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", WORKER, str(tmp_path), "24"],
            env=os.environ | {"DRO_JAX_STORAGE": server.url},
        )
        for _ in range(3)
    ]
    store = opened(tmp_path, "sweep")
    victim = workers[1].pid
    while not any(
        trial.state == "running" and trial.worker.startswith(f"process {victim} ")
        for trial in store.trials()
    ):
        assert workers[1].poll() is None
        time.sleep(0.2)
    os.kill(victim, signal.SIGKILL)
    assert [worker.wait() for worker in workers] == [0, -signal.SIGKILL, 0]
    swept = store.trials()
    assert [trial.state for trial in swept] == ["complete"] * 24
    assert sum(trial.tries for trial in swept) in (24, 25)  # it may have just ended one
    for trial in swept:
        lines = (tmp_path / trial.folder / "steps.txt").read_text().splitlines()
        steps = [int(line.split()[1]) for line in lines]
        # One that is killed between its line and its checkpoint is done once more.
        assert sorted(set(steps)) == [*range(STEPS)] and steps == sorted(steps)


def test_a_server_that_restarts_loses_no_trial(
    server, opened, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(study, "_PAUSES", (0.01,))
    store = opened(tmp_path, "another")
    store.add(planned(1))
    claimed = store.claim(STAGE)
    server.stop()
    with pytest.raises(StorageError, match="Nothing is lost") as refused:
        store.unfinished(STAGE)
    assert "postgresql+psycopg://postgres@/postgres" in str(refused.value)
    assert "once more in 0.01 s" in capfd.readouterr().err
    server.start()
    claimed.complete(1.0, steps=5, tokens=None)
    assert store.unfinished(STAGE) == 0


def test_two_folders_are_two_sweeps(opened, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    opened(tmp_path / "a", "third")
    opened(tmp_path / "a", "third")
    opened(tmp_path / "b", "fourth")
    # A folder has one study, whatever its sweep is called by now.
    assert opened(tmp_path / "b", "third").study.study_name == "fourth"
    with pytest.raises(ConfigError, match="of another folder than"):
        opened(tmp_path / "c", "third")
