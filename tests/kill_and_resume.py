"""Kills a training run at random points, resumes it, and compares it with a whole run.

    python tests/kill_and_resume.py --rounds 20
    python tests/kill_and_resume.py --processes 2 --devices 4 --rounds 20
    python tests/kill_and_resume.py --loops online --rounds 20

Every round starts the command again and ends one of its processes, whichever, each in
its own part of the run: with SIGKILL after some steps, while a checkpoint is being
written, or while it starts up, and now and then with SIGTERM, which must save and end
all with 143, or all of them with Ctrl-C, as a terminal does (130). What a SIGKILL leaves
of the others is killed too, as a launcher does. Then the run is let through to its end,
and its parameters, optimiser state, data position and metrics by step are compared, bit
by bit, with a run that was never touched. It trains DRO-V with dropout on packed
batches and a cached reference, and samples at each evaluation. With `--loops online` half
of each batch is what the policy of a round ago answered, the reference, a frozen copy,
moves on the way, and some kills come as a round of samples has just been kept. The exit
status is 1 at any difference.
"""

import argparse
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parent / "helpers"))

import command_runs
from run_differences import differences, last_step, unfinished_saves
from several_processes import Processes

from dro_jax.plurals import counted

STEPS_A_ROUND = 9  # more than any round can get through
SAVE_PERIOD = 3
AT_A_ROUND = "at a round"
KINDS = ("after steps", "during a save", "at start", "SIGTERM", "Ctrl-C")
# Signals that a run answers, each with its exit code; the others are SIGKILL.
ENDS = {"SIGTERM": (signal.SIGTERM, 143), "Ctrl-C": (signal.SIGINT, 130)}
KILLED = 128 + signal.SIGKILL
# Seconds that a run may take to its end, and a process to leave after a signal.
LONGEST, LEAVING = 1200, 300


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, nargs="+", default=[20], help="kills of each layout"
    )
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1], help="of the run"
    )
    parser.add_argument(
        "--devices", type=int, nargs="+", help="of each process; default 1 and 8, or 4"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--loops",
        nargs="+",
        default=["log"],
        choices=["log", "online"],
        help="what each layout trains on: the log, or samples beside it",
    )
    parser.add_argument(
        "--first",
        nargs="+",
        default=[KINDS[0]],
        choices=[AT_A_ROUND, *KINDS],
        help="how each layout is interrupted first; the others follow in turn",
    )
    arguments = parser.parse_args(argv)
    devices = arguments.devices or ([1, 8] if arguments.processes == [1] else [4])
    layouts = [devices, arguments.processes, arguments.rounds]
    layouts += [arguments.loops, arguments.first]
    longest = max(map(len, layouts))
    if any(len(given) not in (1, longest) for given in layouts):
        parser.error(
            "give one of processes, devices, rounds, loops and first, or as many each"
        )
    layouts = [given * longest if len(given) == 1 else given for given in layouts]
    same = True
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command_runs.keep_compiled(folder / "compiled")
        command_runs.prepare(folder)
        for devices, processes, rounds, loop, first in zip(*layouts, strict=True):
            draw = random.Random(arguments.seed + devices)
            online = loop == "online"
            kinds = [*[AT_A_ROUND] * online, *KINDS]
            if first not in kinds:
                parser.error(f"--first={first!r} is for --loops online")
            begin = kinds.index(first)
            kinds = kinds[begin:] + kinds[:begin]
            campaign = Campaign(
                folder, processes, devices, rounds, draw, kinds, online=online
            )
            same &= campaign.run()
    print("all runs are bitwise the same" if same else "RUNS DIFFER")
    return 0 if same else 1


class Campaign:
    """One whole run and one that is killed again and again, in one layout."""

    def __init__(
        self,
        folder: pathlib.Path,
        processes: int,
        devices: int,
        rounds,
        draw,
        kinds: Sequence[str],
        *,
        online: bool,
    ):
        self._settings = command_runs.ONLINE if online else {}
        self._kinds = kinds
        self._folder, self._rounds, self._draw = folder, rounds, draw
        self._processes, self._devices = processes, devices
        self._steps = STEPS_A_ROUND * rounds + SAVE_PERIOD
        self._layout = counted(devices, "device")
        if processes > 1:
            self._layout = f"{processes} processes of {self._layout}"
        self._loop = "online" if online else "log"
        if online:
            self._layout += ", online"

    def run(self) -> bool:
        name = f"{self._loop}_{self._processes}x{self._devices}"
        whole, killed = self._folder / f"whole_{name}", self._folder / f"killed_{name}"
        self._finish(whole)
        for round_number in range(self._rounds):
            self._disturb(killed, round_number)
        self._finish(killed)
        found = differences(whole, killed, self._steps)
        for difference in found:
            print(f"{self._layout}: differs: {difference}")
        print(
            f"{self._layout}: {counted(self._rounds, 'interruption')}, "
            f"{counted(self._steps, 'step')}, {counted(len(found), 'difference')}"
        )
        return not found

    def _start(self, model_dir: pathlib.Path) -> Processes:
        settings = {"TRAIN_STEPS": self._steps, "CHECKPOINT_PERIOD": SAVE_PERIOD}
        settings |= command_runs.SAMPLED | self._settings
        if self._processes * self._devices > 1:
            settings |= {"FSDP": True, "MODEL_PARALLEL": 2}
        return Processes(
            command_runs.train,
            *command_runs.flags_of(self._folder, "dro_v", model_dir, **settings),
            count=self._processes,
            devices=self._devices,
            logs=self._folder / f"logs_{model_dir.name}",
        )

    def _finish(self, model_dir: pathlib.Path) -> None:
        with self._start(model_dir) as run:
            statuses = run.wait(LONGEST)
            if any(statuses):
                self._fail(run, f"a run that nobody disturbed ended with {statuses}")

    def _disturb(self, model_dir: pathlib.Path, round_number: int) -> None:
        kind = self._kinds[round_number % len(self._kinds)]
        rank = self._draw.randrange(self._processes)
        begin = last_step(model_dir)
        # Each in its own part of the run, to its end.
        first = max(begin, round_number * STEPS_A_ROUND)
        after = first + self._draw.randint(1, STEPS_A_ROUND - SAVE_PERIOD - 1)
        deadline = time.monotonic() + self._draw.uniform(0.2, 4.0)
        seen, known = unfinished_saves(model_dir), _rounds_of_samples(model_dir)

        def ready() -> bool:
            if kind == "at start":
                return time.monotonic() > deadline or last_step(model_dir) >= after
            if kind == AT_A_ROUND:
                now = _rounds_of_samples(model_dir)
                if last_step(model_dir) < first:
                    known.update(now)
                return bool(now - known)
            if last_step(model_dir) < after:
                return False
            return kind != "during a save" or bool(unfinished_saves(model_dir) - seen)

        with self._start(model_dir) as run:
            if not run.until(ready, LONGEST):
                self._fail(run, f"{kind}: a process ended by itself")
            sent = time.monotonic()
            if kind in ENDS:
                self._ask(run, kind, rank)
            else:
                run.send(rank, signal.SIGKILL)
                while run.status(rank) is None:
                    time.sleep(0.001)
                run.kill()
                if run.status(rank) != KILLED:
                    self._fail(run, f"{kind}: rank {rank} ended by itself")
            gone = time.monotonic() - sent
        who = f" of rank {rank}" if self._processes > 1 and kind != "Ctrl-C" else ""
        unfinished = ", a save unfinished" if unfinished_saves(model_dir) else ""
        print(
            f"{self._layout}, round {round_number + 1}: {kind}{who}, from step {begin} "
            f"to {last_step(model_dir)}, gone after {gone:.1f} s{unfinished}",
            flush=True,
        )

    def _ask(self, run: Processes, kind: str, rank: int) -> None:
        sign, expected = ENDS[kind]
        for each in range(self._processes) if kind == "Ctrl-C" else [rank]:
            run.send(each, sign)
        statuses = run.wait(LEAVING)
        if statuses != [expected] * self._processes:
            self._fail(run, f"{kind}: exit codes {statuses}, not {expected}")

    def _fail(self, run: Processes, message: str) -> None:
        raise SystemExit(f"{self._layout}: {message}\n{run.ends_of_logs()}")


def _rounds_of_samples(model_dir: pathlib.Path) -> set[str]:
    return {path.name for path in model_dir.glob("fresh_samples/round_*.npz")}


if __name__ == "__main__":
    sys.exit(main())
