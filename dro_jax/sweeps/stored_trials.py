"""The trials of a sweep on Optuna's storage, each of them run once whoever asks."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Self

import optuna
from optuna.trial import TrialState

from dro_jax.sweeps import tries
from dro_jax.sweeps.claimed_trial import Claimed
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.recovery import (
    close_that_of,
    close_those_of_dead_workers,
    follow_up,
    is_dead,
    latest_step,
)
from dro_jax.sweeps.results import SweptTrial
from dro_jax.sweeps.search_hooks import SearchHooks
from dro_jax.sweeps.study import LockedStudy
from dro_jax.sweeps.tries import Tries, by_key
from dro_jax.training.owner_file import Owner


class StoredTrials:
    """A `TrialStore`.

    Attributes:
      study: Optuna's, of all stages.
    """

    def __init__(
        self,
        url: str | None,
        folder: pathlib.Path,
        name: str,
        hooks: SearchHooks | None,
        max_tries: int,
        log: str | None,
    ):
        self._locked = LockedStudy(url, folder, name, hooks)
        self._folder, self._max_tries, self._log = folder, max_tries, log
        self.study = self._locked.study

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._locked.close()

    def add(self, planned: Sequence[PlannedTrial]) -> int:
        """As `TrialStore.add`."""
        return self._locked.patiently(lambda: self._add(planned))

    def claim(self, stage: str, keys: Sequence[str] | None = None) -> Claimed | None:
        """As `TrialStore.claim`."""
        me = Owner.this()
        return self._locked.patiently(lambda: self._claim(me, stage, keys))

    def unfinished(self, stage: str, keys: Sequence[str] | None = None) -> int:
        """As `TrialStore.unfinished`."""
        waits, asked = ("waiting", "running"), None if keys is None else set(keys)
        return sum(
            one.stage == stage
            and one.state in waits
            and (asked is None or one.key in asked)
            for one in self.trials()
        )

    def again(self, keys: Sequence[str]) -> int:
        """As `TrialStore.again`."""
        return self._locked.patiently(lambda: self._again(frozenset(keys)))

    def trials(self) -> list[SweptTrial]:
        """As `TrialStore.trials`."""
        return [trial.swept() for trial in self._locked.patiently(self._recovered)]

    def _tries(self) -> list[Tries]:
        return by_key(self.study.get_trials(deepcopy=False))

    def _recovered(self) -> list[Tries]:
        """The trials, none of them in the hands of a worker that is known to be dead."""
        found = self._tries()
        if any(is_dead(row) for trial in found for row in trial.rows):
            with self._locked.locked():
                self._recover()
            found = self._tries()
        return found

    def _recover(self) -> None:
        study = self._locked
        close_those_of_dead_workers(self.study, study.storage, study.study_id)
        rows = self.study.get_trials(deepcopy=False)
        follow_up(self.study, rows, self._folder, self._max_tries)

    def _add(self, planned: Sequence[PlannedTrial]) -> int:
        with self._locked.locked():
            there = {trial.planned.key for trial in self._tries()}
            # One plan may name a trial twice.
            new = {t.key: t for t in planned if t.key not in there}
            for trial in new.values():
                self.study.enqueue_trial(
                    {}, user_attrs=dict(tries.attributes_of(trial))
                )
        return len(new)

    def _again(self, keys: frozenset[str]) -> int:
        with self._locked.locked():
            failed = [
                one
                for one in self._tries()
                if one.state == "failed" and one.planned.key in keys
            ]
            for one in failed:
                attributes = {**tries.attributes_of(one.planned), tries.AGAIN: True}
                self.study.enqueue_trial({}, user_attrs=attributes)
        return len(failed)

    def _claim(
        self, me: Owner, stage: str, keys: Sequence[str] | None
    ) -> Claimed | None:
        study = self._locked
        with study.locked():
            close_that_of(self.study, study.storage, study.study_id, me.token)
            self._recover()
            waiting = {
                trial.planned.key: trial
                for trial in self._tries()
                if trial.state == "waiting" and trial.planned.stage == stage
            }
            key = next(
                (k for k in (waiting if keys is None else keys) if k in waiting), None
            )
            return None if key is None else self._take(me, waiting[key])

    def _take(self, me: Owner, trial: Tries) -> Claimed | None:
        """Makes a waiting trial this worker's; None, another one has it."""
        storage, study_id = self._locked.storage, self._locked.study_id
        row = storage.get_trial_id_from_study_id_trial_number(
            study_id, trial.deciding.number
        )
        # A trial that runs always says at whom, even if this worker dies right here.
        worker = dataclasses.asdict(me)
        step = latest_step(self._folder / trial.folder)
        storage.set_trial_user_attr(row, tries.WORKER, worker)
        storage.set_trial_user_attr(row, tries.LOG, self._log)
        storage.set_trial_user_attr(row, tries.FROM_STEP, step)
        storage.record_heartbeat(row)
        begun, planned = optuna.trial.Trial(self.study, row), trial.planned
        if self._locked.hooks is not None and not trial.begun:
            planned = self._locked.hooks.draw(self.study, begun, planned)
            begun.set_user_attr(tries.PLANNED, tries.as_json(planned))
        # A server that restarts lets go of the lock, and another worker may be here too.
        if not storage.set_trial_state_values(row, TrialState.RUNNING):
            return None
        return Claimed(
            self._locked,
            row,
            number=trial.number,
            planned=planned,
            count=len(trial.begun) + 1,
            trial=begun,
        )
