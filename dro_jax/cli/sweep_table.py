"""A sweep's trials as lines of a terminal."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

from dro_jax.cli.sweep_plan import Plan
from dro_jax.plurals import counted
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.names import SWEEP_DIR
from dro_jax.sweeps.results import RESULTS, SweepResults
from dro_jax.training import run_files

_ENDED = ("complete", "failed", "pruned")
_SHARED = f"'${SWEEP_DIR}/"
_FIT = "the fit"
# What a folder that trials share holds when what is kept there, of a split as a rule, is
# whole.
_WHOLE = {
    run_files.REFERENCE_CACHE: "*/table",
    run_files.REFERENCE_SAMPLES: "*/rewards.npy",
    run_files.VALUE_OF_REFERENCE: "report.json",
}


def plan_table(plan: Plan, folder: pathlib.Path) -> str:
    """What would be run, stage by stage, what trials share and what has no effect."""
    return "\n".join(_planned(plan, folder, _states(folder)))


def stages_table(plan: Plan, folder: pathlib.Path) -> str:
    """A line a stage: how many runs, and what is there already of them and for them."""
    states, lines = _states(folder), []
    for number, (name, trials) in enumerate(plan.trials.items(), 1):
        shared = list(dict.fromkeys(own for one in trials for own in _shared(one)))
        left = any(states.get(one.key) not in _ENDED for one in trials)
        there = [
            f"{own} ({', '.join(kept)})"
            for own in shared
            if left and (kept := _kept(folder, own))
        ]
        kept = f"; there already: {', '.join(there)}" if there else ""
        lines.append(
            f"{number}/{len(plan.trials)} {name}: {_runs(trials, states)}{kept}"
        )
    return "\n".join(lines)


def _states(folder: pathlib.Path) -> Mapping[str, str]:
    """By key, what became of trials that an earlier command ran."""
    if not (folder / RESULTS).is_file():
        return {}
    return {one.key: one.state for one in SweepResults.read(folder).trials}


def _planned(
    plan: Plan, folder: pathlib.Path, states: Mapping[str, str]
) -> Iterator[str]:
    yield f"{plan.sweep.name} in {folder}"
    for name, trials in plan.trials.items():
        yield f"\n{name}: {_runs(trials, states)}"
        width = max((len(one.label) for one in trials), default=0)
        for one in trials:
            told = _told(one, states.get(one.key), folder)
            yield f"  {one.label:{width}}{told}".rstrip()


def _runs(trials: Sequence[PlannedTrial], states: Mapping[str, str]) -> str:
    left = sum(states.get(one.key) not in _ENDED for one in trials)
    runs = counted(len(trials), "run")
    if left == len(trials):
        return runs
    return f"{runs}, {left} of them left" if left else f"{runs}, there already"


def _told(trial: PlannedTrial, state: str | None, folder: pathlib.Path) -> str:
    parts = [state] if state in _ENDED else []
    if trial.builds_on:
        parts.append(f"from {', '.join(trial.builds_on)}")
    found = [
        f"{own} (there already: {', '.join(kept)})" if kept else own
        for own in _shared(trial)
        for kept in [_kept(folder, own)]
    ]
    if found:
        parts.append(f"shares {', '.join(found)}")
    if trial.unused:
        parts.append(f"no effect: {', '.join(trial.unused)}")
    return "  " + "; ".join(parts) if parts else ""


def _shared(trial: PlannedTrial) -> list[str]:
    """Folders within the sweep's that the trial shares."""
    found = [own.partition(_SHARED)[2].rstrip("'") for own in trial.bindings]
    return [own for own in found if own]


def _kept(folder: pathlib.Path, shared: str) -> list[str]:
    """Of what trials share, what is computed: the names of splits, or the fit.

    Which of them a trial needs is known once its task has been registered.
    """
    marker = _WHOLE.get(shared.partition("/")[0])
    found = sorted((folder / shared).glob(marker)) if marker else []
    return [_FIT if path.name == marker else path.parent.name for path in found]


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
