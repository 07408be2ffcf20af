"""Every trial once, whoever adds, claims, dies or comes back late."""

import pathlib
import subprocess
import sys

import pytest
from sweep_worker import STAGE, STEPS, planned

from dro_jax.sweeps.trial_store import open_store

WORKER = pathlib.Path(__file__).parents[1] / "helpers/sweep_worker.py"


@pytest.fixture
def store(tmp_path):
    return open_store(None, tmp_path, "sweep")


def test_a_trial_is_added_once_and_plans_may_grow(store):
    assert store.add(planned(2) + planned(1)) == 2
    assert store.add(planned(3)) == 1
    assert [t.label for t in store.trials()] == ["TAU 0", "TAU 1", "TAU 2"]
    assert store.unfinished(STAGE) == 3
    assert store.unfinished("reference") == 0
    assert store.claim("reference") is None


def test_a_plan_asks_for_its_own_trials_in_its_own_order(store):
    store.add(planned(4))
    zero, one, two, _ = (trial.key for trial in planned(4))
    assert store.unfinished(STAGE, [two, zero]) == 2
    assert [store.claim(STAGE, [two, zero]).number for _ in range(2)] == [2, 0]
    # The others stay for who asks for them.
    assert store.claim(STAGE, [two, zero]) is None and store.claim(STAGE, []) is None
    assert store.unfinished(STAGE, [one]) == 1 and store.unfinished(STAGE) == 4
    assert store.claim(STAGE).number == 1


def test_how_trials_end(store):
    store.add(planned(4))
    done, bad, worse, left = (store.claim(STAGE) for _ in range(4))
    assert store.claim(STAGE) is None
    done.complete(None, steps=5, tokens=70)
    bad.fail("no such file")
    worse.prune("the median is lower")
    left.give_back()
    left.fail("the first call counts")
    again = store.claim(STAGE)
    assert (again.number, again.tries, again.planned) == (3, 2, left.planned)
    swept = store.trials()
    assert [t.state for t in swept] == ["complete", "failed", "pruned", "running"]
    assert (swept[0].steps, swept[0].tokens) == (5, 70)
    reasons = [t.reason for t in swept]
    assert reasons == [None, "no such file", "the median is lower", None]
    assert swept[3].folder == "policies/0003_TAU_3"
    assert store.unfinished(STAGE) == 1
    again.complete(1.0, steps=5, tokens=70)
    assert store.unfinished(STAGE) == 0


def test_processes_that_come_at_once_run_every_trial_once(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", WORKER, str(tmp_path), "8"])
        for _ in range(3)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    store = open_store(None, tmp_path, "sweep")
    swept = store.trials()
    assert [(t.state, t.tries) for t in swept] == [("complete", 1)] * 8
    for trial in swept:
        lines = (tmp_path / trial.folder / "steps.txt").read_text().splitlines()
        assert lines == [f"{trial.number} {step}" for step in range(STEPS)]
