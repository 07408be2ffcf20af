"""Workers of one machine, real processes on a real storage; their runs are no training."""

import os
import pathlib
import signal
import sys

import pytest
from sweep_worker import STAGE, STEPS

from dro_jax.cli import sweep_devices
from dro_jax.cli.sweep_workers import run_workers
from dro_jax.errors import ConfigError
from dro_jax.sweeps.trial_store import open_store

WORKER = pathlib.Path(__file__).parents[1] / "helpers/sweep_worker.py"


@pytest.fixture
def run(tmp_path):
    """Runs two workers; `tell` is called with the store every 0.1 s."""
    store = open_store(None, tmp_path, "sweep")

    def run(tell, trials=8):
        run_workers(
            2,
            [sys.executable, str(WORKER), str(tmp_path), str(trials)],
            {},
            tmp_path,
            unfinished=lambda: store.unfinished(STAGE),
            tell=lambda: tell(store),
            tell_seconds=0.1,
        )

    return run


def _workers_of(store):
    running = (t.worker for t in store.trials() if t.state == "running")
    return sorted({int(worker.split()[1]) for worker in running})


@pytest.mark.slow
def test_a_killed_worker_is_told_of_and_the_other_finishes_its_trial(
    run, tmp_path, capfd
):
    killed = []

    def tell(store):
        workers = _workers_of(store)
        if len(workers) == 2 and not killed:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])

    # So many that the first worker is not done with all before the other has started.
    run(tell, trials=40)
    store = open_store(None, tmp_path, "sweep")
    swept = store.trials()
    assert [t.state for t in swept] == ["complete"] * 40
    # It may have been between two trials.
    assert sum(t.tries for t in swept) in (40, 41)
    for trial in swept:
        lines = (tmp_path / trial.folder / "steps.txt").read_text().splitlines()
        steps = [int(line.split()[1]) for line in lines]
        # One that is killed between its line and its checkpoint is done once more.
        assert sorted(set(steps)) == [*range(STEPS)] and steps == sorted(steps)
    told = capfd.readouterr().err
    assert "ended (killed: SIGKILL: out of memory, or by the launcher)" in told
    assert "the other one goes on, also with its trial" in told


@pytest.mark.slow
def test_an_interrupt_gives_trials_back_and_no_worker_stays(run, tmp_path):
    seen = []

    def tell(store):
        workers = _workers_of(store)
        if len(workers) == 2:
            seen.extend(workers)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tell, trials=100)  # more than one worker does before the other starts
    for worker in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    states = {t.state for t in open_store(None, tmp_path, "sweep").trials()}
    assert states <= {"complete", "waiting"}
    assert (tmp_path / "workers/1.log").read_text().startswith("--- worker 1, ")


def test_where_no_worker_is_left_the_command_fails(tmp_path, capfd):
    with pytest.raises(ConfigError, match="no worker is left, and 3 trials are not"):
        run_workers(
            2,
            [sys.executable, "-c", "raise SystemExit('no such file')"],
            {},
            tmp_path,
            unfinished=lambda: 3,
            tell=lambda: None,
        )
    told = capfd.readouterr().err
    assert told.count("ended (crashed: an error that is not the user's)") == 2
    assert "  no such file" in told


def test_cores_and_gpus_are_shared_out(monkeypatch):
    monkeypatch.setattr(sweep_devices, "_cores", lambda: [0, 1, 4, 5, 6])
    monkeypatch.setattr(sweep_devices, "jax_uses_gpus", lambda: True)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [d.cores for d in sweep_devices.devices_of(2)] == [(0, 1), (4, 5, 6)]
    assert [d.cores for d in sweep_devices.devices_of(6)] == [()] * 6
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    own = [d.environment["CUDA_VISIBLE_DEVICES"] for d in sweep_devices.devices_of(2)]
    assert own == ["0", "2,3"]
    with pytest.raises(ConfigError, match="this machine has 3 GPUs"):
        sweep_devices.devices_of(4)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert sweep_devices.devices_of(4)[0].environment == {}
