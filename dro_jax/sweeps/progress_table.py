"""How far a sweep has come, in numbers and as a table for a terminal."""

import dataclasses
import json
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from dro_jax.plurals import counted
from dro_jax.progress_bar import clock
from dro_jax.reporting.sweep_results import SweptTrial
from dro_jax.sweeps.sweep import Sweep
from dro_jax.training.run_files import METRICS

ENDED = ("complete", "failed", "pruned")
_STATES = ("complete", "running", "waiting", "failed", "pruned")
_MOST_SHOWN = 12  # running trials
_TAIL = 1 << 16  # bytes of a log in which its last line is looked for


@dataclasses.dataclass(frozen=True)
class TimeLeft:
    """How long the rest of a sweep takes.

    Attributes:
      seconds: by those of the trials that are done.
      is_all: whether they tell of all stages; else it is at least so long.
    """

    seconds: float
    is_all: bool

    def __str__(self) -> str:
        return f"{'about' if self.is_all else 'at least'} {clock(self.seconds)} left"


def time_left(
    trials: Sequence[SweptTrial],
    compared: str,
    running_for: Mapping[int, float],
    workers: int = 1,
) -> TimeLeft | None:
    """What the trials that are done say of the others; None, before one is done.

    Args:
      trials: all of the sweep.
      compared: the axis of what may take different time, as the objective.
      running_for: seconds of those that run, by number.
      workers: how many work at once, at least.
    """
    taken: dict[Any, list[float]] = {}
    for one in trials:
        if one.state == "complete":
            for kind in (one.stage, (one.stage, one.values.get(compared))):
                taken.setdefault(kind, []).append(one.seconds)
    rest, is_all = 0.0, True
    for one in trials:
        if one.state in ENDED:
            continue
        like = taken.get((one.stage, one.values.get(compared))) or taken.get(one.stage)
        if like is None:
            is_all = False
            continue
        rest += max(statistics.fmean(like) - running_for.get(one.number, 0.0), 0.0)
    if not taken:
        return None
    running = sum(one.state == "running" for one in trials)
    return TimeLeft(rest / max(workers, running, 1), is_all)


@dataclasses.dataclass(frozen=True)
class Best:
    """The best setting of a search so far.

    Attributes:
      value: of its metric, the mean over seeds.
      seeds: how many.
      setting: `TAU 0.3, LEARNING_RATE 0.001`.
    """

    value: float
    seeds: int
    setting: str

    def __str__(self) -> str:
        over = f" over {counted(self.seeds, 'seed')}" if self.seeds > 1 else ""
        return f"{self.value:.4g}{over}: {self.setting}"


def best_so_far(
    sweep: Sweep, trials: Sequence[SweptTrial]
) -> dict[tuple[str, Any], Best]:
    """Of each searching stage, by it and the value of the compared axis.

    A setting counts when all its seeds have ended, and none was pruned.
    """
    directions = {
        stage.name: stage.search.direction
        for stage in sweep.stages
        if stage.search is not None
    }
    settings: dict[tuple[str, Any, str], list[SweptTrial]] = {}
    for one in trials:
        if one.stage in directions:
            kind = one.stage, one.values.get(sweep.compared)
            setting = _setting(one, sweep.compared)
            settings.setdefault((*kind, setting), []).append(one)
    found: dict[tuple[str, Any], Best] = {}
    for (stage, value, setting), seeds in settings.items():
        values = [one.value for one in seeds if one.value is not None]
        if not values or not all(one.state in ("complete", "failed") for one in seeds):
            continue
        best, kind = (
            Best(statistics.fmean(values), len(values), setting),
            (stage, value),
        )
        sign = 1 if directions[stage] == "maximize" else -1
        if kind not in found or sign * best.value > sign * found[kind].value:
            found[kind] = best
    return found


def _setting(trial: SweptTrial, compared: str) -> str:
    return ", ".join(
        f"{name.rpartition('.')[2]} {x}"
        for name, x in trial.values.items()
        if name not in (compared, trial.seed_axis)
    )


def ended_line(
    trial: SweptTrial, trials: Sequence[SweptTrial], left: TimeLeft | None
) -> str:
    """What is told of a trial that has ended, where there is no terminal."""
    own = [one for one in trials if one.stage == trial.stage]
    done = sum(one.state in ENDED for one in own)
    parts = [
        f"{trial.stage} {done}/{len(own)}",
        trial.label,
        f"{trial.state} after {clock(trial.seconds)}",
    ]
    if trial.value is not None:
        parts.append(f"{trial.value:.4g}")
    if trial.reason is not None:
        parts[-1] += f": {trial.reason}"
    if left is not None and done < len(own):
        parts.append(str(left))
    return "  ".join(parts)


def table(
    sweep: Sweep,
    trials: Sequence[SweptTrial],
    folder: pathlib.Path,
    left: TimeLeft | None,
) -> rich.console.RenderableType:
    """All of it: counts by stage and objective, the trials that run, the time left.

    Args:
      sweep: its description.
      trials: its own.
      folder: the sweep's.
      left: of :func:`time_left`.
    """
    parts = [_counts(sweep, trials)]
    running = [one for one in trials if one.state == "running"]
    if running:
        parts.append(_running(running[:_MOST_SHOWN], trials, folder))
    if more := len(running) - _MOST_SHOWN:
        parts += [rich.text.Text(f"… and {more} more")] if more > 0 else []
    ended = sum(one.state in ENDED for one in trials)
    foot = f"{ended}/{counted(len(trials), 'trial')}"
    if left is not None and ended < len(trials):
        foot += f", {left}"
    parts.append(rich.text.Text(foot))
    return rich.console.Group(*parts)


def _counts(sweep: Sweep, trials: Sequence[SweptTrial]) -> rich.table.Table:
    best = best_so_far(sweep, trials)
    found = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False)
    found.add_column("stage")
    found.add_column(sweep.compared)
    for state in _STATES:
        found.add_column("done" if state == "complete" else state, justify="right")
    if best:
        found.add_column("best")
    for stage in sweep.stages:
        own = [one for one in trials if one.stage == stage.name]
        for value in dict.fromkeys(one.values.get(sweep.compared) for one in own):
            like = [one for one in own if one.values.get(sweep.compared) == value]
            counts = [sum(one.state == state for one in like) for state in _STATES]
            row = [
                stage.name,
                "" if value is None else str(value),
                *(str(count) if count else "·" for count in counts),
            ]
            if best:
                row.append(str(best.get((stage.name, value), "")))
            found.add_row(*map(rich.text.Text, row))
    return found


def _running(
    running: Sequence[SweptTrial], trials: Sequence[SweptTrial], folder: pathlib.Path
) -> rich.table.Table:
    found = rich.table.Table(box=None, pad_edge=False)
    for title in ("running", "step", "steps/s", "loss", "tries"):
        found.add_column(title, justify="left" if title == "running" else "right")
    steps = {one.stage: one.steps for one in trials if one.steps is not None}
    for one in running:
        line = latest_line(folder / one.folder)
        step, whole = line.get("step"), steps.get(one.stage)
        shown = "–" if step is None else f"{step:,}"
        if step is not None and whole is not None:
            shown += f"/{whole:,}"
        row = [
            one.label,
            shown,
            _number(line, "steps_per_second"),
            _number(line, "loss"),
        ]
        found.add_row(*map(rich.text.Text, [*row, str(one.tries)]))
    return found


def _number(line: Mapping[str, Any], name: str) -> str:
    value = line.get(name)
    return f"{value:.3g}" if isinstance(value, int | float) else "–"


def latest_line(run: pathlib.Path) -> dict[str, Any]:
    """The last whole line of a run's log, whose writer is at work; empty, there is none."""
    try:
        with (run / METRICS).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TAIL, 0))
            lines = file.read().split(b"\n")
        # What follows the last end of a line is being written.
        found = json.loads(lines[-2]) if len(lines) > 1 else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
