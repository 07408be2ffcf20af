"""Kills a training run at random points, resumes it, and compares it with a whole run.

    python tests/kill_and_resume.py --rounds 20

Every round starts the run again and ends it: with SIGKILL after some steps, while a
checkpoint is being written, or while it starts up, and now and then with SIGTERM or
Ctrl-C, which must save and exit with code 143 or 130. Then the run is let through to its end, and its
parameters, optimiser state, data position and metrics by step are compared, bit by bit,
with a run that was never touched. It trains DRO-V with dropout on packed batches and a
cached reference, on 1 and on 8 simulated devices. The exit status is 1 at any difference.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

STEPS_A_ROUND = 9  # more than any round can get through
SAVE_PERIOD = 3
START = pathlib.Path(__file__).parent
KINDS = ("after steps", "during a save", "at start", "SIGTERM", "Ctrl-C")
# Signals that a run answers, each with its exit code; the others are SIGKILL.
ENDS = {"SIGTERM": (signal.SIGTERM, 143), "Ctrl-C": (signal.SIGINT, 130)}
# Rates depend on the clock, not on the run.
RATES = ("per_second", "mfu")


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, nargs="+", default=[20], help="kills by device count"
    )
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    rounds = arguments.rounds
    if len(rounds) == 1:
        rounds = rounds * len(arguments.devices)
    if len(rounds) != len(arguments.devices):
        parser.error("--rounds takes one number, or one for each of --devices")
    # The server imports everything once; each run is a fork that starts its own JAX.
    multiprocessing.set_start_method("forkserver")
    multiprocessing.set_forkserver_preload(["kill_and_resume_run"])
    os.environ["PYTHONPATH"] = str(START / "helpers")
    sys.path.insert(0, str(START / "helpers"))
    same = True
    with tempfile.TemporaryDirectory() as folder:
        for devices, count in zip(arguments.devices, rounds, strict=True):
            campaign = Campaign(
                pathlib.Path(folder) / str(devices),
                devices,
                count,
                random.Random(arguments.seed + devices),
            )
            same &= campaign.run()
    print("all runs are bitwise the same" if same else "RUNS DIFFER")
    return 0 if same else 1


class Campaign:
    """One whole run and one that is killed again and again, on some devices."""

    def __init__(self, folder: pathlib.Path, devices: int, rounds: int, draw):
        folder.mkdir()
        self._folder, self._devices, self._rounds = folder, devices, rounds
        self._steps = STEPS_A_ROUND * rounds + SAVE_PERIOD
        self._draw = draw

    def run(self) -> bool:
        from kill_and_resume_run import prepare

        self._wait(self._start(prepare))
        whole, killed = self._folder / "whole", self._folder / "killed"
        self._wait(self._run(whole))
        for round_number in range(self._rounds):
            self._disturb(killed, round_number)
        self._wait(self._run(killed))
        return self._compare(whole, killed)

    def _start(self, function, *arguments):
        process = multiprocessing.Process(
            target=function, args=(str(self._folder), self._devices, *arguments)
        )
        process.start()
        return process

    def _run(self, model_dir: pathlib.Path):
        from kill_and_resume_run import run

        return self._start(run, str(model_dir), self._steps, SAVE_PERIOD)

    @staticmethod
    def _wait(process) -> None:
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"a run that nobody disturbed exited {process.exitcode}")

    def _disturb(self, model_dir: pathlib.Path, round_number: int) -> None:
        kind = KINDS[round_number % len(KINDS)]
        begin = last_step(model_dir)
        after = begin + self._draw.randint(1, STEPS_A_ROUND - SAVE_PERIOD - 1)
        deadline = time.monotonic() + self._draw.uniform(0.2, 4.0)
        seen = saves(model_dir)
        process = self._run(model_dir)

        def ready() -> bool:
            if kind == "at start":
                return time.monotonic() > deadline or last_step(model_dir) >= after
            if last_step(model_dir) < after:
                return False
            return kind != "during a save" or bool(saves(model_dir) - seen)

        while process.is_alive() and not ready():
            time.sleep(0.001)
        sent = time.monotonic()
        sign, expected = ENDS.get(kind, (signal.SIGKILL, -signal.SIGKILL))
        os.kill(process.pid, sign)
        process.join()
        if process.exitcode != expected:
            raise SystemExit(f"{kind}: exit code {process.exitcode}, not {expected}")
        unfinished = ", a save unfinished" if saves(model_dir) else ""
        print(
            f"{self._devices} devices, round {round_number + 1}: {kind}, from step "
            f"{begin} to {last_step(model_dir)}, gone after "
            f"{time.monotonic() - sent:.1f} s{unfinished}",
            flush=True,
        )

    def _compare(self, whole: pathlib.Path, killed: pathlib.Path) -> bool:
        from kill_and_resume_run import differences

        found = differences(whole, killed, self._steps)
        for a, b in itertools.zip_longest(metrics(whole), metrics(killed)):
            if a != b:
                found.append(f"metrics.jsonl: {a} became {b}")
                break
        if len(metrics(whole)) != self._steps:
            found.append(f"{len(metrics(whole))} lines of metrics, not {self._steps}")
        for difference in found:
            print(f"{self._devices} devices: differs: {difference}")
        print(
            f"{self._devices} devices: {self._rounds} interruptions, {self._steps} steps, "
            f"{len(found)} differences"
        )
        return not found


def saves(model_dir: pathlib.Path) -> set[str]:
    """Folders of checkpoints that are being written."""
    return {path.name for path in model_dir.glob("*orbax-checkpoint-tmp*")}


def last_step(model_dir: pathlib.Path) -> int:
    """The newest step in the log; 0 without one."""
    path = model_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return json.loads(line)["step"]
        except json.JSONDecodeError:
            continue  # cut short by a kill
    return 0


def metrics(model_dir: pathlib.Path) -> list[dict]:
    """The log's lines without what depends on the clock."""
    return [
        {k: v for k, v in json.loads(line).items() if not k.endswith(RATES)}
        for line in (model_dir / "metrics.jsonl").read_text().splitlines()
    ]


if __name__ == "__main__":
    sys.exit(main())
