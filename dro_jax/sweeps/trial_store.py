"""Opens the storage of a sweep's trials."""

import pathlib

from dro_jax.errors import ConfigError
from dro_jax.sweeps.interface import TrialStore
from dro_jax.sweeps.search_hooks import SearchHooks

MAX_TRIES = 3


def open_store(
    url: str | None,
    folder: str | pathlib.Path,
    name: str,
    *,
    hooks: SearchHooks | None = None,
    max_tries: int = MAX_TRIES,
    log: str | None = None,
) -> TrialStore:
    """The trials of a sweep, made where they are not there yet.

    Any number of processes may open the same sweep at once.

    Args:
      url: SQLAlchemy's, of SQLite or PostgreSQL; None, `sweep.sqlite3` in the folder.
      folder: the sweep's, as this process sees it.
      name: of the sweep, which tells it from others on the storage.
      hooks: what fills in and prunes trials; none, every trial runs as planned.
      max_tries: so many workers in a row may die of a trial, without a new checkpoint,
        before it counts as failed.
      log: where this process's words go, within the folder, if it dies of a trial.

    Raises:
      ConfigError: Optuna or a driver is missing; no such storage; its sweep of that name
        lies in another folder.
      StorageError: it cannot be reached, or is of another version.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            "sweeps are kept by Optuna, which is not installed: "
            "pip install 'dro-jax[sweep]'"
        ) from error
    from dro_jax.sweeps.stored_trials import StoredTrials

    return StoredTrials(url, pathlib.Path(folder), name, hooks, max_tries, log)
