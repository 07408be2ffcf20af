"""A sweep's study on its storage, and how it is reached."""

import contextlib
import json
import pathlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import optuna

from dro_jax import messages
from dro_jax.errors import ConfigError, StorageError
from dro_jax.sweeps.search_hooks import SearchHooks
from dro_jax.sweeps.storage import open_storage, reaching, shown, storage_url
from dro_jax.whole_files import write_json

_IDENTITY_FILE = "sweep_id.json"
_IDENTITY = "folder"
_PAUSES = (1, 2, 4, 8, 15, 30, 60)  # seconds, between attempts to reach a storage

Result = TypeVar("Result")


class LockedStudy:
    """A study, and the lock under which its trials change hands.

    Attributes:
      url: SQLAlchemy's, of the storage.
      storage: Optuna's.
      study: Optuna's, of all stages.
      study_id: the study's number in the storage.
      hooks: of a search, or None.
    """

    def __init__(
        self,
        url: str | None,
        folder: pathlib.Path,
        name: str,
        hooks: SearchHooks | None,
    ):
        self.url, self.hooks = storage_url(url, folder), hooks
        self.storage, self._lock = open_storage(self.url)
        try:
            with self.reaching(), self._lock():
                self._open(folder, name)
        except BaseException:
            self.close()
            raise

    def _open(self, folder: pathlib.Path, name: str) -> None:
        name = self._name_of(folder, name)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=name,
            load_if_exists=True,
            direction="maximize",
        )
        self.study_id = self.storage.get_study_id_from_name(name)
        self._check_folder(folder, name)

    def close(self) -> None:
        """Leaves the storage."""
        self.storage.remove_session()
        # Optuna itself leaves connections to the end of the process.
        self.storage.engine.dispose()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No other worker claims, adds or ends a trial meanwhile."""
        with self._lock():
            yield

    def reaching(self):
        """What the storage raises in the block becomes a sentence."""
        return reaching(self.url)

    def patiently(self, change: Callable[[], Result]) -> Result:
        """Makes a change, again where the storage is away for a while.

        Raises:
          StorageError: for two minutes.
        """
        for pause in _PAUSES:
            try:
                with self.reaching():
                    return change()
            except StorageError as error:
                messages.warn(f"{error}; once more in {pause} s")
                time.sleep(pause)
        with self.reaching():
            return change()

    def _name_of(self, folder: pathlib.Path, name: str) -> str:
        """What the folder's study is called, whatever its sweep is called by now.

        Two studies would count their trials from 0 each, into the same runs' folders.
        """
        here = _identity_of(folder)
        names = [
            one.study_name
            for one in self.storage.get_all_studies()
            if here is not None and one.user_attrs.get(_IDENTITY) == here
        ]
        return name if name in names or not names else names[0]

    def _check_folder(self, folder: pathlib.Path, name: str) -> None:
        """One sweep has one folder: runs of two would lie in each other's."""
        here = _identity_of(folder)
        there = self.study.user_attrs.get(_IDENTITY)
        if there is None:
            if here is None:
                here = uuid.uuid4().hex
                # Half of one would refuse all that come later.
                write_json(folder / _IDENTITY_FILE, here)
            self.study.set_user_attr(_IDENTITY, here)
        elif here != there:
            raise ConfigError(
                f"{shown(self.url)} holds a sweep {name!r} of another folder than "
                f"{folder}: give that folder, or the sweep another name "
                "(sweeps.Sweep.name)"
            )


def _identity_of(folder: pathlib.Path) -> str | None:
    """What tells a sweep's folder from others; None, nothing was run there yet."""
    path = folder / _IDENTITY_FILE
    return json.loads(path.read_text("utf-8")) if path.exists() else None
