"""Kills a sweep's workers at random points, and compares its runs with whole ones.

    python tests/kill_a_sweep.py --kills 20

Two processes of one `dro-jax sweep` command share its trials: the reference, then NLL, KTO
and DRO-V from it, which really train. Again and again one of them is killed with SIGKILL,
while it starts, trains or saves, and begun anew. Every fifth time the sweep starts its two
workers itself (`--workers 2`), and one of these is killed, or the sweep's own process,
alone or with all that it started, as when a machine goes down. Where all trials are done,
one more seed is added, as people do. At the end the sweep is let through, and another one,
which has one process and which nobody disturbs, runs the same trials: each must be there
once and complete, and have the same parameters, optimiser, data position and metrics by
step, bit by bit. The exit status is 1 otherwise.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent / "helpers"))

import command_runs
from run_differences import differences, last_step
from several_processes import Processes

from dro_jax.plurals import counted
from dro_jax.sweeps.results import SweepResults, SweptTrial

STEPS, REFERENCE_STEPS = 24, 12
OBJECTIVES = ("nll", "kto", "dro_v")
LONGEST = 1800  # seconds that a sweep may take to its end
_turns = itertools.count().__next__
LEAVING = 120  # that orphans may take to save
_SWEEP = """\
from __gin__ import dynamic_registration
from dro_jax import sweeps

SEEDS = (0,)
SWEEP = @sweeps.Sweep()
sweeps.Sweep.stages = [@reference/sweeps.Stage(), @policies/sweeps.Stage()]
reference/sweeps.Stage:
  name = 'reference'
  gin_files = [{files}, {nll!r}, {common!r}]
  bindings = {{'TRAIN_STEPS': {reference_steps}}}
policies/sweeps.Stage:
  name = 'policies'
  gin_files = [{files}, '$objective', {common!r}]
  bindings = {{'TRAIN_STEPS': {steps}, 'INITIAL_CHECKPOINT_PATH': '$reference'}}
  axes = [@sweeps.Files(), @sweeps.Seeds()]
sweeps.Files:
  name = 'objective'
  values = {objectives}
sweeps.Seeds.values = %SEEDS
"""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", help="of the sweep that is killed")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command_runs.keep_compiled(folder / "compiled")
        command_runs.write_log(folder)
        gin_file = _write_sweep(folder)
        draw = random.Random(arguments.seed)
        killed = Campaign(folder, gin_file, draw, arguments.storage)
        killed.run(arguments.kills)
        whole = folder / "whole"
        flags = sweep_flags(folder, gin_file, whole, killed.seeds)
        logs = folder / "logs_whole"
        with start(flags, logs) as alone:
            if any(alone.wait(LONGEST)):
                raise SystemExit(alone.ends_of_logs())
        found = _compared(whole, folder / "killed", killed.seeds)
    for difference in found:
        print(f"differs: {difference}")
    print(
        f"{counted(killed.count, 'kill')}: "
        + ("RUNS DIFFER" if found else "every trial once, bitwise as alone")
    )
    return 1 if found else 0


def _write_sweep(folder: pathlib.Path) -> pathlib.Path:
    common = folder / "common.gin"
    common.write_text(command_runs.gin_text(folder, CHECKPOINT_PERIOD=4))
    objectives = {n: f"gin_configs/objectives/{n}.gin" for n in OBJECTIVES}
    parts = ("models/tiny", "tasks/jsonl", "runs/train")
    path = folder / "killed_sweep.gin"
    path.write_text(
        _SWEEP.format(
            files=", ".join(f"'gin_configs/{name}.gin'" for name in parts),
            nll=objectives["nll"],
            common=str(common),
            objectives=objectives,
            steps=STEPS,
            reference_steps=REFERENCE_STEPS,
        )
    )
    return path


class Campaign:
    """One sweep that is killed again and again."""

    def __init__(self, folder, gin_file, draw, storage):
        self._folder, self._gin_file, self._draw = folder, gin_file, draw
        self._storage = storage
        self._output = folder / "killed"
        self._running: list[Processes] = []
        self.seeds, self.count = 1, 0

    def run(self, kills: int) -> None:
        """Kills so often, and lets the sweep through."""
        try:
            while self.count < kills:
                if self.count % 5 == 4:
                    self._let_through()
                    self._kill_of_workers()
                else:
                    self._kill_one_of_two()
            self._let_through()
            self._begin()
            self._let_through()
        finally:
            for process in self._running:
                process.kill()

    def _begin(self, workers: int = 1) -> None:
        flags = sweep_flags(self._folder, self._gin_file, self._output, self.seeds)
        flags += [f"--workers={workers}"]
        flags += [f"--storage={self._storage}"] if self._storage else []
        logs = self._folder / f"logs_{len(self._running)}"
        self._running.append(start(flags, logs, on_one_core=workers == 1))

    def _let_through(self) -> None:
        for process in self._running:
            if statuses := [*filter(None, process.wait(LONGEST))]:
                self._fail(process, f"a process ended by itself with {statuses}")
        self._running.clear()

    def _kill_one_of_two(self) -> None:
        while len(self._running) < 2:
            self._begin()
        victim = self._draw.choice(self._running)
        if not self._until(self._due()):
            self._let_through()
            self.seeds += 1
            print(f"all trials are done: now {self.seeds} seeds")
            return
        victim.send(0, signal.SIGKILL)
        victim.kill()
        self._running.remove(victim)
        self._tell("one of two processes")

    def _kill_of_workers(self) -> None:
        self.seeds += 1  # so that there is something to do
        self._begin(workers=2)
        (parent,) = self._running
        if not self._until(self._steps(2, 8)):
            self._let_through()
            return
        what = ("one of --workers 2", "the parent", "the parent and its workers")
        what = what[self.count // 5 % len(what)]
        children = _children(parent.process_id(0))
        if what.startswith("one"):
            _kill(self._draw.choice(children))
            self._tell(what)
            self._let_through()
            return
        parent.kill()
        self._running.clear()
        if what.endswith("workers"):
            for child in children:
                _kill(child)
        self._tell(what)
        _wait_for_the_end(children)

    def _due(self) -> Callable[[], bool]:
        if self._draw.random() < 0.7:
            return self._steps(1, 8)
        after = time.monotonic() + self._draw.uniform(0.2, 6)  # while one starts
        return lambda: time.monotonic() > after

    def _steps(self, least: int, most: int) -> Callable[[], bool]:
        goal = self._done() + self._draw.randint(least, most)
        pause = self._draw.uniform(
            0, 0.3
        )  # or all kills would follow a line of the log

        def due() -> bool:
            time.sleep(0.05)
            if self._done() < goal:
                return False
            time.sleep(pause)
            return True

        return due

    def _done(self) -> int:
        logs = self._output.glob("*/*/metrics.jsonl")
        return sum(last_step(path.parent) for path in logs)

    def _until(self, due: Callable[[], bool]) -> bool:
        until = time.monotonic() + LONGEST
        while not due():
            if any(process.status(0) is not None for process in self._running):
                return False
            if time.monotonic() > until:
                self._fail(self._running[0], "it gets no further")
        return True

    def _fail(self, process: Processes, message: str) -> None:
        raise SystemExit(f"{message}\n{process.ends_of_logs()}")

    def _tell(self, what: str) -> None:
        self.count += 1
        print(
            f"kill {self.count}: {what}, {counted(self._done(), 'step')} done",
            flush=True,
        )


def start(flags, logs, *, on_one_core: bool = True) -> Processes:
    """Starts a sweep; on one core, as each of `--workers 2` has on two."""
    process = Processes(command_runs.train, *flags, count=1, devices=1, logs=logs)
    if on_one_core:  # sums on two cores are others
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.process_id(0), {cores[_turns() % len(cores)]})
    return process


def sweep_flags(folder, gin_file, output, seeds) -> list[str]:
    """The command of a sweep."""
    return [
        "sweep",
        f"--gin_file={gin_file}",
        f"--output_dir={output}",
        f"--prepared_dir={folder / 'prepared'}",
        f"--gin.SEEDS={tuple(range(seeds))}",
    ]


def _children(process: int) -> list[int]:
    path = pathlib.Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in path.read_text().split()]


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _wait_for_the_end(processes: list[int]) -> None:
    until = time.monotonic() + LEAVING
    while any(pathlib.Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > until:
            raise SystemExit(f"workers {processes} go on without their sweep")
        time.sleep(0.05)


def _compared(whole: pathlib.Path, killed: pathlib.Path, seeds: int) -> list[str]:
    found = []
    trials = [_by_label(folder) for folder in (whole, killed)]
    planned = 1 + len(OBJECTIVES) * seeds
    for own in trials:
        done = [one for one in own.values() if one.state == "complete"]
        if len(done) != planned:
            found.append(f"{len(done)} complete trials, not {planned}")
    tries = sum(one.tries for one in trials[1].values())
    print(f"{counted(planned, 'trial')}, started {counted(tries, 'time')}")
    for label, one in trials[0].items():
        steps = REFERENCE_STEPS if one.stage == "reference" else STEPS
        folders = whole / one.folder, killed / trials[1][label].folder
        found += [f"{label}: {what}" for what in differences(*folders, steps)]
    return found


def _by_label(folder: pathlib.Path) -> dict[str, SweptTrial]:
    trials = SweepResults.read(folder).trials
    found = {one.label: one for one in trials}
    if len(found) != len(trials):
        raise SystemExit(f"{folder}: trials are there twice")
    return found


if __name__ == "__main__":
    sys.exit(main())
