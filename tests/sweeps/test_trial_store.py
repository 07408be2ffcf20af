"""Every trial once, whoever adds, claims, dies or comes back late."""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import time

import optuna
import pytest
from sweep_worker import STAGE, STEPS, planned

from dro_jax.sweeps import storage, study
from dro_jax.sweeps.trial_store import open_store
from dro_jax.training.owner_file import Owner

WORKER = pathlib.Path(__file__).parents[1] / "helpers/sweep_worker.py"


@pytest.fixture
def store(tmp_path):
    return open_store(None, tmp_path, "sweep", log="workers/7.log")


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


def test_a_folder_has_one_count_of_trials_whatever_its_sweep_is_called(tmp_path, store):
    store.add(planned(2))
    with open_store(None, tmp_path, "sweep (fast)") as fast:
        assert fast.add(planned(3)) == 1
        folders = [one.folder for one in fast.trials()]
    assert folders == [f"{STAGE}/000{n}_TAU_{n}" for n in range(3)]
    assert [one.folder for one in store.trials()] == folders


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


@pytest.fixture
def dying(monkeypatch):
    """Whoever claims a trial from now on is a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = dataclasses.replace(Owner.this(), process=ended.pid)
    fresh = Owner.this
    monkeypatch.setattr(
        Owner, "this", lambda: dataclasses.replace(gone, token=fresh().token)
    )
    return gone


def test_a_trial_of_which_workers_die_is_given_up(store, tmp_path, dying):
    store.add(planned(1))
    assert [store.claim(STAGE).tries for _ in range(3)] == [1, 2, 3]
    assert store.claim(STAGE) is None
    (swept,) = store.trials()
    assert (swept.state, swept.tries) == ("failed", 3)
    assert swept.reason == (
        "3 workers in a row died of it without a new checkpoint, the last one "
        f"{dying}: out of memory, or a crash (see workers/7.log)"
    )


def test_what_is_asked_for_again_may_lose_as_many_workers_as_before(store, dying):
    store.add(planned(1))
    for tried in (0, 3):
        claimed = [store.claim(STAGE) for _ in range(4)]
        assert [one and one.tries - tried for one in claimed] == [1, 2, 3, None]
        assert store.again([planned(1)[0].key]) == 1


def test_those_that_came_further_are_not_counted(store, tmp_path, dying):
    store.add(planned(1))
    for step in range(6):
        assert store.claim(STAGE).tries == step + 1
        (tmp_path / f"policies/0000_TAU_0/checkpoint_{step}").mkdir(parents=True)
    store.claim(STAGE).give_back()  # nor those that were told to stop
    assert store.claim(STAGE).tries == 8


def test_who_was_silent_for_too_long_ends_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(storage, "GRACE_SECONDS", 1)
    store = open_store(None, tmp_path, "sweep")
    store.add(planned(2))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "elsewhere")
        silent = store.claim(STAGE)
    near = store.claim(STAGE)
    time.sleep(2.1)  # SQLite's clock counts seconds
    other = store.claim(STAGE)
    assert (other.number, other.tries) == (silent.number, 2)
    assert store.claim(STAGE) is None  # the other one's process is seen to live
    silent.complete(1.0, steps=5, tokens=5)
    assert "this worker was silent for so long that another" in capfd.readouterr().err
    assert [trial.state for trial in store.trials()] == ["running"] * 2
    other.complete(2.0, steps=6, tokens=6)
    near.complete(2.0, steps=6, tokens=6)
    assert [trial.steps for trial in store.trials()] == [6, 6]


def test_what_failed_is_run_again_where_that_is_asked_for(store):
    trials = planned(3)
    store.add(trials)
    done, bad, other = (store.claim(STAGE) for _ in range(3))
    done.complete(None, steps=1, tokens=1)
    bad.fail("the disk is full")
    other.fail("not asked for")
    assert store.again([done.planned.key, bad.planned.key]) == 1
    assert [t.state for t in store.trials()] == ["complete", "waiting", "failed"]
    assert store.trials()[1].reason is None
    again = store.claim(STAGE)
    assert (again.number, again.tries, again.planned) == (1, 2, bad.planned)
    again.give_back()  # a try that follows is none that was asked for
    store.claim(STAGE).fail("full again")
    assert [t.state for t in store.trials()] == ["complete", "failed", "failed"]
    assert store.trials()[1].reason == "full again"
    assert store.again([bad.planned.key]) == 1
    store.claim(STAGE).complete(1.0, steps=1, tokens=1)
    assert store.trials()[1].state == "complete" and store.claim(STAGE) is None
    assert store.add(trials) == 0


@pytest.fixture
def answer_lost(store, monkeypatch):
    """The storage does what is asked next of a trial's state, and does not say so."""
    monkeypatch.setattr(study, "_PAUSES", (0.01,))
    rows, lost = store.study._storage._backend, []
    ask = rows.set_trial_state_values

    def once(*args, **kwargs):
        answer = ask(*args, **kwargs)
        if not lost:
            lost.append(answer)
            raise optuna.exceptions.StorageInternalError("the connection is lost")
        return answer

    return lambda: monkeypatch.setattr(rows, "set_trial_state_values", once)


def test_a_claim_whose_answer_is_lost_leaves_no_trial_running(store, answer_lost):
    store.add(planned(1))
    answer_lost()
    store.claim(STAGE).complete(None, steps=1, tokens=1)
    assert store.unfinished(STAGE) == 0
    assert store.trials()[0].state == "complete"


@pytest.mark.parametrize("how", ["complete", "fail"])
def test_an_end_whose_answer_is_lost_counts(store, answer_lost, capfd, how):
    store.add(planned(1))
    trial = store.claim(STAGE)
    answer_lost()
    if how == "complete":
        trial.complete(1.0, steps=1, tokens=1)
    else:
        trial.fail("the disk is full")
    told = capfd.readouterr().err
    assert "the connection is lost" in told and "another one took" not in told
    assert store.trials()[0].state == {"complete": "complete", "fail": "failed"}[how]


class Hooks:
    """Does something while a trial is drawn or reports."""

    def __init__(self, act):
        self._act = act

    def draw(self, study, trial, planned):
        self._act()
        return planned

    def report(self, study, trial, planned, step, metrics):
        self._act()


def test_who_lost_the_lock_while_claiming_takes_no_trial_of_anothers(
    store, tmp_path, monkeypatch
):
    store.add(planned(1))
    monkeypatch.setattr(store._locked, "_lock", contextlib.nullcontext)
    first = []
    late = open_store(
        None, tmp_path, "sweep", hooks=Hooks(lambda: first.append(store.claim(STAGE)))
    )
    assert late.claim(STAGE) is None
    first[0].complete(1.0, steps=1, tokens=1)
    assert [trial.tries for trial in store.trials()] == [1]


def test_a_report_waits_for_a_storage_that_is_away(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(study, "_PAUSES", (0.01,))
    away = []

    def act():
        away.append("away")
        if len(away) == 2:  # the first is the draw
            raise optuna.exceptions.StorageInternalError("away")

    store = open_store(None, tmp_path, "sweep", hooks=Hooks(act))
    store.add(planned(1))
    store.claim(STAGE).report(1, {"loss": 1.0})
    assert len(away) == 3 and "once more in 0.01 s" in capfd.readouterr().err


def test_a_kill_leaves_no_half_of_a_sweeps_name(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            open_store(None, tmp_path, "sweep")
    assert not (tmp_path / "sweep_id.json").exists()
    open_store(None, tmp_path, "sweep")


def test_workers_that_come_at_once_or_are_killed_at_random_points(tmp_path):
    done = subprocess.run(
        [sys.executable, WORKER.with_name("sweep_kills.py"), str(tmp_path), "6"],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    swept = open_store(None, tmp_path, "sweep").trials()
    assert [trial.state for trial in swept] == ["complete"] * int(done.stdout)
    assert [trial.tries for trial in swept[:4]] == [1] * 4  # nobody was killed yet
    assert sum(trial.tries for trial in swept) > len(swept)
    for trial in swept:
        lines = (tmp_path / trial.folder / "steps.txt").read_text().splitlines()
        # Between its line and its checkpoint a step may be cut, and is done once more.
        steps = [int(line.split()[1]) for line in lines]
        assert sorted(set(steps)) == [*range(STEPS)]
        assert steps == sorted(steps)
