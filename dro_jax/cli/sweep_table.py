"""A sweep's trials as lines of a terminal."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

from dro_jax.cli.sweep_plan import Plan
from dro_jax.plurals import counted
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.names import SWEEP_DIR
from dro_jax.sweeps.results import RESULTS, SweepResults

_ENDED = ("complete", "failed", "pruned")
_SHARED = f"'${SWEEP_DIR}/"


def plan_table(plan: Plan, folder: pathlib.Path) -> str:
    """What would be run, stage by stage, what trials share and what has no effect."""
    states = {}
    if (folder / RESULTS).is_file():
        states = {one.key: one.state for one in SweepResults.read(folder).trials}
    return "\n".join(_planned(plan, folder, states))


def _planned(
    plan: Plan, folder: pathlib.Path, states: Mapping[str, str]
) -> Iterator[str]:
    yield f"{plan.sweep.name} in {folder}"
    for name, trials in plan.trials.items():
        ended = sum(states.get(one.key) in _ENDED for one in trials)
        left = f", {len(trials) - ended} of them left" if ended else ""
        yield f"\n{name}: {counted(len(trials), 'run')}{left}"
        width = max((len(one.label) for one in trials), default=0)
        for one in trials:
            yield f"  {one.label:{width}}{_told(one, states.get(one.key))}".rstrip()


def _told(trial: PlannedTrial, state: str | None) -> str:
    parts = [state] if state in _ENDED else []
    if trial.builds_on:
        parts.append(f"from {', '.join(trial.builds_on)}")
    shared = [own.partition(_SHARED)[2].rstrip("'") for own in trial.bindings]
    if found := [own for own in shared if own]:
        parts.append(f"shares {', '.join(found)}")
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
            " ".join((one.reason or "").split()),
        )
        for one in results.trials
    ]
    return "\n".join(_columns([("", "stage", "trial", "state", "time", ""), *rows]))


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
