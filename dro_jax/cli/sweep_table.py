"""A sweep's trials as lines of a terminal."""

import pathlib
from collections.abc import Iterator, Sequence

from dro_jax.cli.sweep_plan import Plan
from dro_jax.plurals import counted
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.results import SweepResults


def plan_table(plan: Plan, folder: pathlib.Path) -> str:
    """What would be run, stage by stage, and what has no effect where."""
    return "\n".join(_planned(plan, folder))


def _planned(plan: Plan, folder: pathlib.Path) -> Iterator[str]:
    yield f"{plan.sweep.name} in {folder}"
    for name, trials in plan.trials.items():
        yield f"\n{name}: {counted(len(trials), 'run')}"
        width = max((len(one.label) for one in trials), default=0)
        for one in trials:
            yield f"  {one.label:{width}}{_told(one)}"


def _told(trial: PlannedTrial) -> str:
    parts = []
    if trial.builds_on:
        parts.append(f"from {', '.join(trial.builds_on)}")
    if trial.unused:
        parts.append(f"no effect: {', '.join(trial.unused)}")
    return "  " + "; ".join(parts) if parts else ""


def trials_table(results: SweepResults) -> str:
    """How each trial ended."""
    rows = [
        (
            f"{one.number:04d}",
            one.stage,
            one.label,
            one.state,
            f"{one.seconds:,.0f} s",
            one.reason or "",
        )
        for one in results.trials
    ]
    return "\n".join(_columns([("", "stage", "trial", "state", "time", ""), *rows]))


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
