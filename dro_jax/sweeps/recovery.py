"""Trials whose workers are gone: they are taken up again, or given up."""

import copy
import pathlib
import warnings
from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from dro_jax.paths import checkpoint_step
from dro_jax.processes import has_ended
from dro_jax.sweeps import tries
from dro_jax.sweeps.tries import Tries, by_key
from dro_jax.training.owner_file import Owner


def close_those_of_dead_workers(
    study: optuna.Study, storage: optuna.storages.RDBStorage, study_id: int
) -> None:
    """Ends tries whose workers are gone; called under the lock.

    A worker of this machine is looked up; one elsewhere counts as gone when it was silent
    for the grace period.
    """
    for row in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = _owner(row)
        if owner is None or not owner.is_near:
            continue
        number = storage.get_trial_id_from_study_id_trial_number(study_id, row.number)
        if has_ended(owner.process, owner.process_start):
            storage.set_trial_state_values(number, TrialState.FAIL)
        else:
            # It may be paused, and still has its run's folder: who sees it beats for it.
            storage.record_heartbeat(number)
    with warnings.catch_warnings():
        # Experimental since 2021.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def close_that_of(study: optuna.Study, storage, study_id: int, token: str) -> None:
    """Ends a try that an attempt of the same claim began, whose answer was lost.

    Called under the lock. Its worker lives and does not know of it, so nobody else would.
    """
    for row in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = _owner(row)
        if owner is not None and owner.token == token:
            number = storage.get_trial_id_from_study_id_trial_number(
                study_id, row.number
            )
            storage.set_trial_user_attr(number, tries.END, tries.GIVEN_BACK)
            storage.set_trial_state_values(number, TrialState.FAIL)


def is_dead(row: FrozenTrial) -> bool:
    """Whether a try runs at a worker of this machine whose process has ended."""
    owner = _owner(row)
    if row.state != TrialState.RUNNING or owner is None or not owner.is_near:
        return False
    return has_ended(owner.process, owner.process_start)


def _owner(row: FrozenTrial) -> Owner | None:
    worker = row.user_attrs.get(tries.WORKER)
    return Owner(**worker) if worker else None


def follow_up(
    study: optuna.Study,
    rows: Iterable[FrozenTrial],
    folder: pathlib.Path,
    max_tries: int,
) -> int:
    """Adds the next try of each trial whose last one is over; called under the lock.

    It looks at what is there alone, so it may be cut short anywhere and be called again.

    Args:
      study: of the rows.
      rows: all of it.
      folder: the sweep's.
      max_tries: so many workers in a row may die of a trial without a new checkpoint.

    Returns:
      How many rows it added.
    """
    added = 0
    for trial in by_key(rows):
        last = trial.deciding
        if last.state != TrialState.FAIL or tries.is_final(last):
            continue
        if _deaths(trial, latest_step(folder / trial.folder)) >= max_tries:
            study.add_trial(_given_up(trial, max_tries))
        else:
            _retry(study, last)
        added += 1
    return added


def latest_step(run: pathlib.Path) -> int:
    """The step of a run's newest checkpoint; -1, none."""
    try:
        names = [path.name for path in run.iterdir()]
    except OSError:
        names = []
    steps = (checkpoint_step(name) for name in names)
    return max((step for step in steps if step is not None), default=-1)


def _deaths(trial: Tries, step: int) -> int:
    """How many workers died of it one after another while it came no further."""
    count = 0
    for row in reversed(Tries(trial.since_asked).begun):
        if tries.end_of(row) == tries.GIVEN_BACK:
            continue
        if row.user_attrs.get(tries.FROM_STEP, -1) < step:
            break
        count += 1
    return count


def _retry(study: optuna.Study, row: FrozenTrial) -> None:
    row = copy.deepcopy(row)
    row.user_attrs = {
        name: value
        for name, value in row.user_attrs.items()
        if name not in tries.OF_ONE_TRY
    }
    # How often is counted here: by what a try achieved, and not those given back.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback(
            max_retry=None, inherit_intermediate_values=True
        )
    retry(study, row)


def _given_up(trial: Tries, max_tries: int) -> FrozenTrial:
    last = trial.begun[-1]
    who = f", the last one {owner}" if (owner := _owner(last)) else ""
    log = f" (see {log})" if (log := last.user_attrs.get(tries.LOG)) else ""
    reason = (
        f"{max_tries} workers in a row died of it without a new checkpoint{who}: out of "
        f"memory, or a crash{log}"
    )
    row = copy.deepcopy(trial.rows[-1])
    return optuna.create_trial(
        state=TrialState.FAIL,
        params=row.params,
        distributions=row.distributions,
        user_attrs={
            **tries.attributes_of(trial.planned),
            tries.REASON: reason,
            tries.END: tries.GIVEN_UP,
        },
    )
