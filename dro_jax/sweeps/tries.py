"""The tries of a trial: what a storage keeps of each, and what they say together.

A storage has a row, Optuna's trial, for each try. A try that is over is never begun again:
another one follows it, which takes its plan over. So whoever comes back late holds a row
that is closed.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from dro_jax.sweeps.folders import run_folder
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.results import SweptTrial
from dro_jax.training.owner_file import Owner

# Attributes of a try. The first two and those of a search pass to the next one.
KEY, PLANNED = "key", "planned"
WORKER, LOG, SECONDS, FROM_STEP = "worker", "log", "seconds", "from_step"
STEPS, TOKENS, REASON, END = "steps", "tokens", "reason", "end"
# Of a try that was asked for once more: whatever failed before it counts no longer.
AGAIN = "again"
OF_ONE_TRY = (WORKER, LOG, SECONDS, FROM_STEP, STEPS, TOKENS, REASON, END, AGAIN)

# How a try ended that Optuna calls failed; none of them, its worker was gone.
FAILED = "failed"  # an error that another try would meet again
GIVEN_BACK = "given back"  # interrupted
GIVEN_UP = "given up"  # no try: what says that there will be none any more

_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
}


@dataclasses.dataclass(frozen=True)
class Tries:
    """A trial by its tries.

    Attributes:
      rows: all that have its key, the oldest first.
    """

    rows: Sequence[FrozenTrial]

    @property
    def number(self) -> int:
        return self.rows[0].number

    @property
    def planned(self) -> PlannedTrial:
        """As the last one has it: with the values that a search drew."""
        return planned_of(self.rows[-1])

    @property
    def begun(self) -> list[FrozenTrial]:
        """Those that a worker took up."""
        return [
            row
            for row in self.rows
            if row.state != TrialState.WAITING and end_of(row) != GIVEN_UP
        ]

    @property
    def since_asked(self) -> Sequence[FrozenTrial]:
        """Those that count: what came before it was asked for once more does not."""
        asked = (n for n, row in enumerate(self.rows) if AGAIN in row.user_attrs)
        return self.rows[max(asked, default=0) :]

    @property
    def deciding(self) -> FrozenTrial:
        """The row that says how the trial stands.

        So a row that was added twice does no harm, even if one of the two runs already.
        """
        rows = self.since_asked
        done = (row for row in rows if is_final(row))
        runs = (row for row in rows if row.state == TrialState.RUNNING)
        return next(done, None) or next(runs, rows[-1])

    @property
    def state(self) -> str:
        """As `SweptTrial.state`."""
        row = self.deciding
        if row.state != TrialState.FAIL:
            return _STATES[row.state]
        # A worker that finds a failed try waiting for the next one adds that.
        return "failed" if is_final(row) else "waiting"

    @property
    def folder(self) -> str:
        planned = self.planned
        return run_folder(planned.stage, self.number, planned.label)

    def swept(self) -> SweptTrial:
        """What a report reads of it."""
        planned, begun, row = self.planned, self.begun, self.deciding
        attributes = row.user_attrs
        worker = begun[-1].user_attrs.get(WORKER) if begun else None
        return SweptTrial(
            number=self.number,
            stage=planned.stage,
            label=planned.label,
            values=planned.values,
            unused=tuple(planned.unused),
            seed_axis=planned.seed_axis,
            state=self.state,
            reason=attributes.get(REASON),
            folder=self.folder,
            seconds=sum(one.user_attrs.get(SECONDS) or 0.0 for one in begun),
            steps=attributes.get(STEPS),
            tokens=attributes.get(TOKENS),
            tries=len(begun),
            worker=str(Owner(**worker)) if worker else None,
            value=next(iter(row.values or ()), None),
            key=planned.key,
        )


def by_key(rows: Iterable[FrozenTrial]) -> list[Tries]:
    """Trials of a storage's rows, the one that was added first first."""
    found: dict[str, list[FrozenTrial]] = {}
    for row in sorted(rows, key=lambda row: row.number):
        # A study may be used by others too, who name no key.
        if KEY in row.user_attrs:
            found.setdefault(row.user_attrs[KEY], []).append(row)
    return [Tries(rows) for rows in found.values()]


def end_of(row: FrozenTrial) -> str | None:
    """How a try ended that failed; None, it did not, or its worker was gone."""
    return row.user_attrs.get(END) if row.state == TrialState.FAIL else None


def is_final(row: FrozenTrial) -> bool:
    """Whether no try follows this one."""
    done = row.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return done or end_of(row) in (FAILED, GIVEN_UP)


def planned_of(row: FrozenTrial) -> PlannedTrial:
    """What a row is to run."""
    return PlannedTrial(**row.user_attrs[PLANNED])


def attributes_of(planned: PlannedTrial) -> Mapping[str, Any]:
    """A trial's attributes before its first try."""
    return {KEY: planned.key, PLANNED: as_json(planned)}


def as_json(planned: PlannedTrial) -> Mapping[str, Any]:
    """What `planned_of` reads."""
    return {
        **vars(planned),
        "values": dict(planned.values),
        "gin_files": list(planned.gin_files),
        "bindings": list(planned.bindings),
        "unused": list(planned.unused),
        "builds_on": dict(planned.builds_on),
    }
