"""A worker of a sweep whose runs are no training: real storage, processes and kills.

python tests/helpers/sweep_worker.py FOLDER TRIALS [--worker=…]: adds TRIALS trials, and
runs what it can claim, on the storage that `DRO_JAX_STORAGE` names. A run counts to `STEPS`
in its folder, with a checkpoint at each step.
"""

import os
import pathlib
import signal
import sys
import time
from typing import Any

from dro_jax.cli.sweep_workers import Place
from dro_jax.sweeps import work as sweep_work
from dro_jax.sweeps.folders import run_folder
from dro_jax.sweeps.interface import ClaimedTrial, PlannedTrial
from dro_jax.sweeps.trial_store import open_store

STAGE, STEPS, STEP_SECONDS = "policies", 5, 0.02
LINE = len("0000 0\n")  # bytes that a step leaves


def planned(count: int) -> list[PlannedTrial]:
    """Trials that differ in a number."""
    return [
        PlannedTrial(
            STAGE, f"key{n}", f"TAU {n}", {"TAU": n}, ["a.gin"], [f"TAU = {n}"]
        )
        for n in range(count)
    ]


def count_on(folder: pathlib.Path, number: int) -> None:
    """Counts on from the newest checkpoint; every step leaves a line of who did it."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in range(STEPS):
        saved = folder / f"checkpoint_{step}"
        if not saved.exists():
            time.sleep(STEP_SECONDS)
            with (folder / "steps.txt").open("a") as file:
                file.write(f"{number:04d} {step}\n")
            saved.mkdir()


def work(folder: pathlib.Path, count: int, **options: Any) -> None:
    """Adds trials and runs them until none is unfinished."""
    url = os.environ.get("DRO_JAX_STORAGE")
    with open_store(url, folder, "sweep", **options) as store:
        store.add(planned(count))
        sweep_work.work(
            store, {STAGE: None}, lambda one: _run(folder, one), wait_seconds=0.05
        )


def _run(folder: pathlib.Path, trial: ClaimedTrial) -> None:
    try:
        inside = run_folder(STAGE, trial.number, trial.planned.label)
        count_on(folder / inside, trial.number)
    except SystemExit:
        trial.give_back()
        raise
    trial.complete(float(trial.number), steps=STEPS, tokens=None)


def main(folder: str, count: str, *flags: str) -> None:
    """As the module says."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = Place.of(flags[0].partition("=")[2]) if flags else None
    if place is not None:
        place.follow_parent()
    work(pathlib.Path(folder), int(count), log=place and place.log)


if __name__ == "__main__":
    main(*sys.argv[1:])
