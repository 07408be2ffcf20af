"""The database that trials are kept on: which one, and what can be wrong with it."""

import contextlib
import pathlib
import warnings
from collections.abc import Iterator

import optuna
import sqlalchemy

from dro_jax.errors import ConfigError, StorageError
from dro_jax.sweeps.postgresql import connect_args
from dro_jax.sweeps.storage_lock import Lock, lock_of

DEFAULT_FILE = "sweep.sqlite3"
# A worker of another host that was silent for so long counts as dead. Its run's folder is
# free by then: `run_owner` waits for 300 s, from up to a beat later.
HEARTBEAT_SECONDS, GRACE_SECONDS = 60, 420
_BUSY_SECONDS = 60.0  # SQLite's file is locked by whoever writes
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_HELP = (
    "give sqlite:////absolute/path.sqlite3 or postgresql://USER@HOST/DATABASE, the "
    "password in ~/.pgpass or PGPASSWORD"
)


def storage_url(url: str | None, folder: pathlib.Path) -> sqlalchemy.URL:
    """A storage's address, with the driver that we install.

    Args:
      url: as given; None, SQLite in the folder.
      folder: the sweep's.

    Raises:
      ConfigError: it names no SQLite file or PostgreSQL database.
    """
    if url is None:
        file = (folder / DEFAULT_FILE).absolute()
        return sqlalchemy.URL.create("sqlite", database=str(file))
    try:
        found = sqlalchemy.make_url(url.replace("postgres://", "postgresql://", 1))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Their text quotes the address, which may hold a password.
        raise ConfigError(f"--storage is no database's address: {_HELP}") from None
    backend = found.get_backend_name()
    if backend not in _DRIVERS:
        raise ConfigError(f"--storage {shown(found)}: {backend} is not known: {_HELP}")
    if backend == "sqlite" and (found.database or ":memory:") == ":memory:":
        raise ConfigError(f"--storage {url} is kept in memory, and lost: {_HELP}")
    if found.drivername in ("sqlite", "postgresql"):
        found = found.set(drivername=_DRIVERS[backend])
    return found


def shown(url: sqlalchemy.URL) -> str:
    """A storage's address as people may read it, without its password."""
    hidden = {name: "hidden" for name in url.query if "pass" in name.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def open_storage(url: sqlalchemy.URL) -> tuple[optuna.storages.RDBStorage, Lock]:
    """The storage, its tables made, and what to hold while trials change hands.

    Raises:
      ConfigError: its driver is missing.
      StorageError: it cannot be reached, or is of another version of Optuna.
    """
    # Optuna writes to standard error of every study that it makes.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with reaching(url):
        lock = lock_of(url)
        # Workers that make the tables at once get in each other's way.
        with lock(), warnings.catch_warnings():
            # Heartbeats are experimental since 2021.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = _rdb_storage(url)
    return storage, lock


def _rdb_storage(url: sqlalchemy.URL) -> optuna.storages.RDBStorage:
    plain = url.render_as_string(hide_password=False)
    if _is_sqlite(url):
        options = {"connect_args": {"timeout": _BUSY_SECONDS}}
    else:
        options = {"pool_pre_ping": True, "connect_args": connect_args(url)}
    try:
        return optuna.storages.RDBStorage(
            plain.replace("{", "{{").replace("}", "}}"),  # it is a template there
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
        )
    except RuntimeError as error:
        # Optuna's, of tables that another version made.
        raise StorageError(
            f"{shown(url)}: {_safe(url, error)}. Or name another database"
        ) from None


def _is_sqlite(url: sqlalchemy.URL) -> bool:
    return url.get_backend_name() == "sqlite"


@contextlib.contextmanager
def reaching(url: sqlalchemy.URL) -> Iterator[None]:
    """Turns what a database raises in the block into a sentence without a password."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{shown(url)}: its driver is not installed ({error}): "
            "pip install 'dro-jax[postgresql]'"
        ) from None
    except OSError as error:
        raise StorageError(f"{shown(url)} cannot be used: {error}") from None
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
    ) as error:
        raise StorageError(
            f"{shown(url)} cannot be used: {_safe(url, error)}. Nothing is lost: what "
            "runs saved is in their folders. Mend it or --storage, and run the same "
            "command again"
        ) from None


def _safe(url: sqlalchemy.URL, error: Exception) -> str:
    """What a driver said, in a line."""
    cause = error.__cause__ if not hasattr(error, "orig") else error
    text = str(getattr(cause, "orig", None) or cause or error)
    secrets = (
        url.password,
        *(str(v) for name, v in url.query.items() if "pass" in name.lower()),
    )
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.split()).rstrip(".")
