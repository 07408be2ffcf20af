"""What is shown of a sweep: counts, the trials that run, the time left, the best."""

import contextlib
import dataclasses
import io
import json
import time

import pytest
import rich.console

from dro_jax.sweeps.axes import Uniform
from dro_jax.sweeps.progress import shown_progress
from dro_jax.sweeps.progress_table import (
    TimeLeft,
    best_so_far,
    ended_line,
    latest_line,
    table,
    time_left,
)
from dro_jax.sweeps.results import SweptTrial
from dro_jax.sweeps.sweep import Search, Stage, Sweep

SEARCH = Search(3, "eval/loss", "minimize")
SWEEP = Sweep(
    [
        Stage("reference", []),
        Stage("policies", [], axes=[Uniform("TAU", 0.1, 1)], search=SEARCH),
    ],
    name="quickstart",
)
REFERENCE = SweptTrial(0, "reference", "reference", {}, state="complete", seconds=60.0)


def trial(number, state="waiting", objective="DRO-V", tau=0.1, seed=0, **fields):
    return SweptTrial(
        number,
        "policies",
        f"{objective} · TAU {tau} · seed {seed}",
        {"objective": objective, "TAU": tau, "RANDOM_SEED": seed},
        seed_axis="RANDOM_SEED",
        state=state,
        folder=f"policies/{number:04d}",
        **fields,
    )


TRIALS = [
    REFERENCE,
    trial(1, "complete", seconds=100.0, value=2.0, steps=450),
    trial(2, "complete", seed=1, seconds=140.0, value=1.0, steps=450),
    trial(3, "running", tau=0.2, value=None, tries=2),
    trial(4, "pruned", objective="KTO", reason="others do better"),
    trial(5, "failed", objective="KTO", reason="no memory"),
    trial(6, objective="KTO"),
]


def shown(thing, width=100):
    console = rich.console.Console(file=io.StringIO(), width=width)
    console.print(thing)
    return console.file.getvalue()


def test_the_table(tmp_path):
    run = tmp_path / TRIALS[3].folder
    run.mkdir(parents=True)
    line = {"step": 1200, "loss": 0.51234, "steps_per_second": 5.678}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n" + '{"step": 1')
    rows = shown(table(SWEEP, TRIALS, tmp_path, TimeLeft(125.0, True))).splitlines()
    cells = [[cell for cell in row.split("  ") if cell.strip()] for row in rows]
    cells = [[cell.strip() for cell in row] for row in cells if row]
    assert ["reference", "1", "·", "·", "·", "·"] in cells
    best = "1.5 over 2 seeds: TAU 0.1"
    assert ["policies", "DRO-V", "2", "1", "·", "·", "·", best] in cells
    assert ["policies", "KTO", "·", "·", "1", "1", "1"] in cells
    assert ["DRO-V · TAU 0.2 · seed 0", "1,200/450", "5.68", "0.512", "2"] in cells
    assert cells[-1] == ["5/7 trials, about 0:02:05 left"]


@pytest.mark.parametrize("width", [40, 100])
def test_no_row_is_wider_than_the_terminal(tmp_path, width):
    found = shown(table(SWEEP, TRIALS, tmp_path, None), width)
    assert max(map(len, found.splitlines())) <= width


def test_of_many_that_run_some_are_shown(tmp_path):
    many = [trial(n, "running", tau=n) for n in range(40)]
    found = shown(table(SWEEP, many, tmp_path, None))
    assert "TAU 11 " in found and "TAU 12 " not in found
    assert "… and 28 more" in found


def test_the_time_left_follows_from_trials_that_are_done():
    # DRO-V takes 120 s on the average, of which 50 are over; a KTO run is taken for one.
    assert time_left(TRIALS, "objective", {3: 50.0}) == TimeLeft(70.0 + 120.0, True)
    assert time_left(TRIALS, "objective", {3: 50.0}, 2) == TimeLeft(95.0, True)
    assert time_left(TRIALS, "objective", {3: 500.0}) == TimeLeft(120.0, True)
    kto = trial(7, "complete", objective="KTO", seconds=10.0)
    assert time_left([*TRIALS, kto], "objective", {}) == TimeLeft(130.0, True)
    assert time_left(TRIALS[3:], "objective", {}) is None
    begun = time_left([REFERENCE, trial(1)], "objective", {})
    assert str(begun) == "at least 0:00:00 left"


def test_the_best_is_a_setting_of_whole_seeds():
    best = best_so_far(SWEEP, TRIALS)
    assert [*best] == [("policies", "DRO-V")]
    half = dataclasses.replace(TRIALS[3], value=0.1)
    pruned = trial(8, "pruned", tau=0.3, value=0.1)
    assert best_so_far(SWEEP, [*TRIALS, half, pruned]) == best
    done = trial(8, "complete", tau=0.3, value=0.5)
    assert str(best_so_far(SWEEP, [*TRIALS, done])["policies", "DRO-V"]) == (
        "0.5: TAU 0.3"
    )
    assert (
        best_so_far(dataclasses.replace(SWEEP, stages=SWEEP.stages[:1]), TRIALS) == {}
    )


def test_lines_where_there_is_no_terminal(tmp_path, capsys):
    states = [[REFERENCE, trial(1, "running")]]
    with shown_progress(lambda: states[-1], tmp_path, SWEEP, seconds=0.01):
        done = trial(1, "complete", seconds=100.0, value=2.0)
        states.append([REFERENCE, done, trial(2)])
        until = time.monotonic() + 10
        while not (said := capsys.readouterr().err) and time.monotonic() < until:
            time.sleep(0.01)
        states.append([REFERENCE, done, trial(2, "failed", reason="no memory")])
    said += capsys.readouterr().err
    assert said.splitlines() == [
        (
            "policies 1/2  DRO-V · TAU 0.1 · seed 0  complete after 0:01:40  2  "
            "about 0:01:40 left"
        ),
        "policies 2/2  DRO-V · TAU 0.1 · seed 0  failed after 0:00:00: no memory",
    ]


def test_a_line_of_what_was_pruned():
    line = ended_line(TRIALS[4], TRIALS, TimeLeft(10.0, False))
    assert line == (
        "policies 4/6  KTO · TAU 0.1 · seed 0  pruned after 0:00:00: others do better  "
        "at least 0:00:10 left"
    )


def test_the_log_of_a_run_that_writes(tmp_path):
    assert latest_line(tmp_path) == {}
    log = tmp_path / "metrics.jsonl"
    for text, found in [
        ("", {}),
        ('{"step": 5', {}),
        ('{"step": 5}\n', {"step": 5}),
        ('{"step": 5}\n{"st', {"step": 5}),
        ('{"step": 5}\nno json\n', {}),
        ("[1]\n", {}),
        ('{"step": 5}\n' * 20_000 + '{"step": 6}\n', {"step": 6}),
    ]:
        log.write_text(text)
        assert latest_line(tmp_path) == found


def test_a_storage_that_is_away_is_asked_again(tmp_path, capsys):
    from dro_jax.errors import StorageError

    answers = [StorageError("away"), [trial(1, "running")], [trial(1, "complete")]]

    def ask():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, StorageError):
            raise answer
        return answer

    with contextlib.nullcontext(), shown_progress(ask, tmp_path, SWEEP, seconds=60):
        ask()
    assert "complete" in capsys.readouterr().err
