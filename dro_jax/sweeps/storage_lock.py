"""One worker at a time changes which trials there are and who has them.

Optuna leaves that to the database, where SQLite has no `FOR UPDATE`: two processes can
both find a trial waiting, and both take it. And no database knows that two trials of one
key are one. A lock that dies with its process settles both.
"""

import contextlib
import fcntl
import pathlib
import random
import time
from collections.abc import Callable, Iterator

import sqlalchemy

from dro_jax.errors import StorageError
from dro_jax.sweeps.postgresql import connect_args

_PATIENCE = 600.0  # seconds; what is done under the lock takes milliseconds
_PAUSE = 0.02
_POSTGRESQL_KEY = (
    0x64726F5F6A6178  # "dro_jax": whoever else locks there does not meet it
)

Lock = Callable[[], contextlib.AbstractContextManager[None]]


def lock_of(url: sqlalchemy.URL) -> Lock:
    """What to hold while trials change hands on a storage.

    Args:
      url: of SQLite with a file, or of PostgreSQL.
    """
    if url.get_backend_name() == "sqlite":
        path = pathlib.Path(f"{url.database}.lock")
        return lambda: _locked_file(path)
    # A connection of its own, which ends with the block.
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, connect_args=connect_args(url)
    )
    return lambda: _locked_database(engine)


@contextlib.contextmanager
def _locked_file(path: pathlib.Path) -> Iterator[None]:
    with path.open("ab") as file:
        _wait(lambda: _try_file(file, path), str(path))
        yield


def _try_file(file, path: pathlib.Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"{path}: its file system has no locks ({error.strerror}), which several "
            "workers on SQLite need: name a folder of another one, or keep the trials on "
            "PostgreSQL (--storage)"
        ) from error
    return True


@contextlib.contextmanager
def _locked_database(engine: sqlalchemy.Engine) -> Iterator[None]:
    ask = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(_POSTGRESQL_KEY))
    with engine.connect() as connection:
        # Out of a transaction: an idle one would hold the server's vacuum back.
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        _wait(lambda: connection.execute(ask).scalar(), "the storage's advisory lock")
        yield


def _wait(take: Callable[[], bool], name: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not take():
        if time.monotonic() > until:
            raise StorageError(
                f"{name} was held for {_PATIENCE:.0f} s: a worker of the sweep is "
                "paused or hangs in the middle of a change. Let it go on, or end it"
            )
        time.sleep(_PAUSE * (0.5 + random.random()))
