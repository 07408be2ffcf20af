"""Where stores are kept: a folder that runs share, or one of this process's own."""

import atexit
import functools
import os
import pathlib
import shutil
import tempfile

from dro_jax import paths
from dro_jax.errors import ConfigError
from dro_jax.messages import note

VARIABLE = "DRO_JAX_PREPARED_DIR"
_chosen: str | None = None


def set_prepared_dir(folder: str | os.PathLike | None) -> None:
    """Sets the folder for this process; None, as the environment says.

    Raises:
      ConfigError: it cannot be made or written to.
    """
    global _chosen
    _chosen = None
    if folder is not None:
        path = paths.make_folder(paths.expanded(folder), "--prepared_dir")
        _chosen = str(path.resolve())


def store_root() -> pathlib.Path:
    """The folder of all stores.

    It is `--prepared_dir`, `$DRO_JAX_PREPARED_DIR`, or `dro_jax/prepared` in the user's
    folder of caches; where that cannot be written to, a folder of this process's own,
    which is removed at its end.

    Raises:
      ConfigError: the variable names a URL.
    """
    return _usable(_named())


def kept_root() -> pathlib.Path:
    """The folder of all stores as it is named, which may be missing or only readable.

    Raises:
      ConfigError: the variable names a URL.
    """
    return _local(_named())


def private_folder() -> pathlib.Path:
    """A new folder for a store that no other run may use; removed at this one's end."""
    return pathlib.Path(tempfile.mkdtemp(dir=_private_root()))


@functools.cache
def _usable(folder: str) -> pathlib.Path:
    local = _local(folder)
    try:
        return paths.make_folder(local)
    except ConfigError as error:
        note(
            "prepared splits cannot be kept, so this process prepares them for itself: "
            f"{error} and set {VARIABLE} or --prepared_dir to it"
        )
        return pathlib.Path(_private_root())


def _local(folder: str) -> pathlib.Path:
    expanded = paths.expanded(folder)
    if paths.is_url(expanded):
        raise ConfigError(
            f"prepared splits cannot be kept at {folder}: set {VARIABLE} or "
            "--prepared_dir to a folder of a file system (a mounted bucket will do)"
        )
    return pathlib.Path(os.path.abspath(expanded))


def _named() -> str:
    return _chosen or os.environ.get(VARIABLE) or paths.user_cache("prepared")


@functools.cache
def _private_root() -> str:
    folder = tempfile.mkdtemp(prefix="dro-jax-prepared-")
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: str, owner: int) -> None:
    # A process forked from the owner runs its exit functions too.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
