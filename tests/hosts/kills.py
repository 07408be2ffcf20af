"""Ends one process of a run in every way, and tells what becomes of the others.

    python tests/hosts/kills.py [--only NAME …] [--json FILE]

Each event happens to a fresh run of two processes. The table says with which status, and
how many seconds after the event, each of them ended. Then the same command goes on, and
must end bitwise like a run that nothing happened to. The exit status is 1 where a
process ended with another status than the event's or not in time, or the runs differ.
"""

import argparse
import dataclasses
import json
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "helpers"))

import command_runs
from command_runs import STAND_STILL
from run_differences import differences, last_step, unfinished_saves
from several_processes import Processes

from dro_jax import exit_codes

STEPS, PERIOD = 16, 5
EVALUATION = 7  # the step of the first one
WATCHDOG_SECONDS = 45
START_SECONDS = 20
LONGEST = 900  # seconds until a moment comes, or a run has ended
LEAVING = 180  # seconds after which a process that should have ended hangs
AS_TOLD = "as told"


@dataclasses.dataclass(frozen=True)
class Moment:
    """When an event happens.

    Attributes:
      told: what the first process has said by then.
      step: the last line of metrics by then; then some time passes.
      after: seconds of that time.
      saving: a checkpoint is being written.
      case: of `command_runs.CASES`.
      settings: of its command beside the usual ones.
    """

    told: str = ""
    step: int = 0
    after: float = 0.0
    saving: bool = False
    case: str = "dro_v"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


MOMENTS = {
    "training": Moment(step=2),
    "the reference cache fills": Moment("computing the reference's log-probs", after=1),
    "the value is fitted": Moment(
        "value of the reference 1/",
        case="a_lol",
        settings={"value_fit.ValueFitConfig.num_epochs": 40},
    ),
    # Nothing is said of it: the step before it is done, and no step takes so long.
    "evaluation": Moment(step=EVALUATION - 1, after=0.7),
    "a save": Moment(saving=True),
}


@dataclasses.dataclass(frozen=True)
class Event:
    """What happens to a run of two processes.

    Attributes:
      name: as the table has it.
      signals: which signal which rank gets.
      statuses: with which each must end; None, it does not, and is killed.
      moment: when; None: before anything, by the flags.
      flags: of one rank alone.
      ranks: those that start.
    """

    name: str
    signals: dict[int, signal.Signals]
    statuses: dict[int, int | None]
    moment: str | None = "training"
    flags: dict[int, list[str]] = dataclasses.field(default_factory=dict)
    ranks: tuple[int, ...] = (0, 1)


_NAMES = ("REFUSED", "INTERRUPTED", "ABORTED", "KILLED", "STUCK", "PREEMPTED")
REFUSED, INTERRUPTED, ABORTED, KILLED, STUCK, PREEMPTED = (
    getattr(exit_codes, name).number for name in _NAMES
)


def _event(name: str, sign: signal.Signals, rank: int, others: int, moment="training"):
    own = {signal.SIGKILL: KILLED, signal.SIGSTOP: None}.get(sign, others)
    return Event(name, {rank: sign}, {rank: own, 1 - rank: others}, moment)


_TERM, _KILL = signal.SIGTERM, signal.SIGKILL
EVENTS = (
    _event("SIGTERM of rank 0", _TERM, 0, PREEMPTED),
    _event("SIGTERM of rank 1", _TERM, 1, PREEMPTED),
    Event(
        "Ctrl-C",
        dict.fromkeys((0, 1), signal.SIGINT),
        dict.fromkeys((0, 1), INTERRUPTED),
    ),
    _event("SIGKILL of rank 0", _KILL, 0, ABORTED),
    _event("SIGKILL of rank 1", _KILL, 1, ABORTED),
    # JAX's heartbeat, which is more impatient here than the watchdog.
    _event("SIGSTOP of rank 0", signal.SIGSTOP, 0, ABORTED),
    _event("SIGSTOP of rank 1", signal.SIGSTOP, 1, ABORTED),
    # A thread of JAX's still answers for it.
    _event("the program of rank 1 stands still", STAND_STILL, 1, STUCK),
    Event(
        "a refusal of rank 1",
        {},
        {0: REFUSED, 1: REFUSED},
        moment=None,
        flags={1: ["--gin.BATCH_SIZE=7"]},
    ),
    Event(
        "a refusal of rank 1 before it joins",
        {},
        {0: REFUSED, 1: REFUSED},
        moment=None,
        flags={1: ["--gin.TRAIN_PATH='/nowhere.jsonl'"]},
    ),
    Event("rank 1 never starts", {}, {0: REFUSED}, moment=None, ranks=(0,)),
    Event("rank 0 never starts", {}, {1: REFUSED}, moment=None, ranks=(1,)),
    *(
        _event(f"{sign.name} of rank {rank} while {moment}", sign, rank, others, moment)
        for moment in ("the reference cache fills", "the value is fitted")
        for sign, rank, others in ((_KILL, 1, ABORTED), (_TERM, 1, PREEMPTED))
    ),
    _event("SIGKILL of rank 1 in evaluation", _KILL, 1, ABORTED, "evaluation"),
    _event("SIGTERM of rank 1 in evaluation", _TERM, 1, PREEMPTED, "evaluation"),
    _event("SIGKILL of rank 0 in a save", _KILL, 0, ABORTED, "a save"),
    _event("SIGKILL of rank 1 in a save", _KILL, 1, ABORTED, "a save"),
    _event("SIGTERM of rank 1 in a save", _TERM, 1, PREEMPTED, "a save"),
)


class Table:
    """Runs of two processes, and what became of them.

    Args:
      folder: for everything.
      devices: of each process.
    """

    def __init__(self, folder: pathlib.Path, devices: int):
        self._folder, self._devices = folder, devices
        self._whole: dict[str, pathlib.Path] = {}

    def row(self, number: int, event: Event) -> dict[str, Any]:
        """Lets an event happen to a run, and the command go on after it."""
        model_dir = self._folder / f"run_{number}"
        moment = MOMENTS.get(event.moment or "", Moment())
        whole = self._whole_run(moment)
        row = self.happen(event, model_dir)
        if row["verdict"] != AS_TOLD:
            return row
        with self._start(moment, model_dir) as again:
            statuses = again.wait(LONGEST)
            if any(statuses):
                return row | {"verdict": f"resumed: {statuses}\n{again.ends_of_logs()}"}
        found = differences(whole, model_dir, STEPS)
        return row | {"verdict": "; ".join(found) or "equal"}

    def happen(self, event: Event, model_dir: pathlib.Path) -> dict[str, Any]:
        """A run, the event, and how each process ended: the verdict is of that."""
        moment = MOMENTS.get(event.moment or "", Moment())
        row: dict[str, Any] = {"event": event.name}
        with self._start(moment, model_dir, event) as run:
            if event.moment and not run.until(_come(moment, run, model_dir), LONGEST):
                return row | {"verdict": f"ended before\n{run.ends_of_logs()}"}
            row["step"], began = last_step(model_dir), time.monotonic()
            for rank, sign in event.signals.items():
                run.send(rank, sign)
            leaving = {rank for rank, status in event.statuses.items() if status}
            while leaving & set(run.running) and time.monotonic() < began + LEAVING:
                time.sleep(0.01)
            found = {rank: run.status(rank) for rank in event.statuses}
            for rank, status in found.items():
                seconds = run.seconds(rank, began) if status is not None else None
                row[f"rank {rank}"] = {"status": status, "seconds": seconds}
        if found != event.statuses:
            return row | {"verdict": f"{found}\n{run.ends_of_logs()}"}
        return row | {"verdict": AS_TOLD}

    def _whole_run(self, moment: Moment) -> pathlib.Path:
        """What a run must end as; one serves all events of a case."""
        model_dir = self._folder / f"whole_{moment.case}"
        if moment.case not in self._whole:
            with self._start(moment, model_dir) as run:
                if any(run.wait(LONGEST)):
                    raise SystemExit(f"a whole run failed\n{run.ends_of_logs()}")
            self._whole[moment.case] = model_dir
        return self._whole[moment.case]

    def _start(
        self, moment: Moment, model_dir: pathlib.Path, event: Event | None = None
    ):
        settings = {"TRAIN_STEPS": STEPS, "CHECKPOINT_PERIOD": PERIOD}
        settings |= {"EVAL_PERIOD": EVALUATION, "WATCHDOG_SECONDS": WATCHDOG_SECONDS}
        # Long enough an evaluation to be met in it.
        settings |= {"VALIDATION_PATH": str(self._folder / "train.jsonl")}
        return Processes(
            command_runs.train_but,
            event.flags if event else {},
            *command_runs.flags_of(
                self._folder, moment.case, model_dir, **(settings | moment.settings)
            ),
            f"--start_timeout={START_SECONDS}",
            count=2,
            devices=self._devices,
            logs=self._folder / f"logs_{model_dir.name}",
            ranks=event.ranks if event else None,
        )


def _come(
    moment: Moment, run: Processes, model_dir: pathlib.Path
) -> Callable[[], bool]:
    seen: list[float] = []

    def come() -> bool:
        if moment.saving:
            return bool(unfinished_saves(model_dir))
        if last_step(model_dir) < moment.step or moment.told not in run.log(0):
            return False
        seen.append(time.monotonic())
        return time.monotonic() >= seen[0] + moment.after

    return come


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="parts of their names"
    )
    parser.add_argument("--devices", type=int, default=2, help="of each process")
    parser.add_argument("--json", type=pathlib.Path, help="where the figures go")
    arguments = parser.parse_args(argv)
    chosen = [
        event
        for event in EVENTS
        if not arguments.only or any(part in event.name for part in arguments.only)
    ]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command_runs.keep_compiled(folder / "compiled")
        command_runs.prepare(folder)
        table = Table(folder, arguments.devices)
        print("| event | rank 0 | rank 1 | resumed |\n| --- | --- | --- | --- |")
        for number, event in enumerate(chosen):
            rows.append(table.row(number, event))
            print(line(rows[-1]), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(rows, indent=2))
    return 0 if all(row["verdict"] == "equal" for row in rows) else 1


def line(row: dict[str, Any]) -> str:
    """A row as the table has it."""
    cells = [row["event"]]
    for rank in (0, 1):
        ended = row.get(f"rank {rank}")
        if ended is None:
            cells.append("not started")
        elif ended["status"] is None:
            cells.append("stays: SIGKILL")
        else:
            code = exit_codes.EXIT_CODES.get(ended["status"])
            name = f"{code.name} ({code.number})" if code else str(ended["status"])
            cells.append(f"{name}, {ended['seconds']:.1f} s")
    return f"| {' | '.join([*cells, row['verdict']])} |"


if __name__ == "__main__":
    sys.exit(main())
