"""A worker of a sweep whose runs are no training: real storage, processes and kills.

python tests/helpers/sweep_worker.py FOLDER TRIALS [URL]: adds TRIALS trials, and runs what
it can claim. A run counts to `STEPS` in its folder, with a checkpoint at each step.
"""

import pathlib
import sys
import time

from dro_jax.sweeps.folders import run_folder
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.trial_store import open_store

STAGE, STEPS, STEP_SECONDS = "policies", 5, 0.02


def planned(count: int) -> list[PlannedTrial]:
    """Trials that differ in a number."""
    return [
        PlannedTrial(
            STAGE, f"key{n}", f"TAU {n}", {"TAU": n}, ["a.gin"], [f"TAU = {n}"]
        )
        for n in range(count)
    ]


def run(folder: pathlib.Path, number: int) -> None:
    """Counts on from the newest checkpoint; every step leaves a line of who did it."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in range(STEPS):
        saved = folder / f"checkpoint_{step}"
        if not saved.exists():
            time.sleep(STEP_SECONDS)
            with (folder / "steps.txt").open("a") as file:
                file.write(f"{number} {step}\n")
            saved.mkdir()


def work(folder: pathlib.Path, count: int, url: str | None = None) -> None:
    """Adds trials and runs them until none is unfinished."""
    store = open_store(url, folder, "sweep")
    store.add(planned(count))
    while store.unfinished(STAGE):
        claimed = store.claim(STAGE)
        if claimed is None:
            time.sleep(0.05)
            continue
        run(
            folder / run_folder(STAGE, claimed.number, claimed.planned.label),
            claimed.number,
        )
        claimed.complete(float(claimed.number), steps=STEPS, tokens=None)


if __name__ == "__main__":
    work(pathlib.Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
