"""A trial in the hands of the worker that runs it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from dro_jax import messages
from dro_jax.sweeps import tries
from dro_jax.sweeps.heartbeats import Heartbeats
from dro_jax.sweeps.interface import PlannedTrial

if TYPE_CHECKING:
    from dro_jax.sweeps.study import LockedStudy


class Claimed:
    """A `ClaimedTrial`.

    Attributes:
      number, planned, tries: as there.
      trial: Optuna's.
    """

    def __init__(
        self,
        study: "LockedStudy",
        row: int,
        *,
        number: int,
        planned: PlannedTrial,
        count: int,
        trial: optuna.trial.Trial,
    ):
        self.number, self.planned, self.tries, self.trial = (
            number,
            planned,
            count,
            trial,
        )
        self._study, self._row = study, row
        self._beats: Heartbeats | None = Heartbeats(study.storage, row)

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """As `ClaimedTrial.report`."""
        hooks = self._study.hooks
        if hooks is not None:
            self._study.patiently(
                lambda: hooks.report(
                    self._study.study, self.trial, self.planned, step, metrics
                )
            )

    def complete(
        self, value: float | None, *, steps: int | None, tokens: int | None
    ) -> None:
        """As `ClaimedTrial.complete`."""
        found = {tries.STEPS: steps, tries.TOKENS: tokens}
        self._end(TrialState.COMPLETE, found, None if value is None else [value])

    def fail(self, reason: str) -> None:
        """As `ClaimedTrial.fail`."""
        self._end(TrialState.FAIL, {tries.REASON: reason, tries.END: tries.FAILED})

    def prune(self, reason: str) -> None:
        """As `ClaimedTrial.prune`."""
        self._end(TrialState.PRUNED, {tries.REASON: reason})

    def give_back(self) -> None:
        """As `ClaimedTrial.give_back`."""
        self._end(TrialState.FAIL, {tries.END: tries.GIVEN_BACK})

    def _end(
        self,
        state: TrialState,
        attributes: Mapping[str, object],
        values: list[float] | None = None,
    ) -> None:
        if self._beats is None:
            return  # the first call counts: this one is of whoever cleans up
        seconds = round(self._beats.seconds, 3)
        self._beats.stop()
        self._beats = None
        attributes = {tries.SECONDS: seconds, **attributes}
        ours = self._study.patiently(lambda: self._close(state, attributes, values))
        if not ours:
            messages.warn(
                f"trial {self.number} ({self.planned.label}): this worker was silent for "
                "so long that another one took the trial up; what that one finds counts"
            )

    def _close(self, state, attributes, values) -> bool:
        """Ends this try, if it is not over; returns whether it ended so."""
        storage = self._study.storage
        with self._study.locked():
            found = storage.get_trial(self._row)
            if found.state != TrialState.RUNNING:
                # As it is to be where an attempt got through whose answer was lost.
                wanted = state, attributes.get(tries.END)
                return (found.state, tries.end_of(found)) == wanted
            for name, value in attributes.items():
                storage.set_trial_user_attr(self._row, name, value)
            # Study.tell would refuse to complete a trial without a value.
            storage.set_trial_state_values(self._row, state, values)
            return True
