"""Paths as people write them: `~`, `$VARIABLES` and URLs; and names in them."""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator, Sequence

from dro_jax.errors import ConfigError

PathLike = str | os.PathLike
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CHECKPOINT = re.compile(r"checkpoint_(\d+)")  # T5X's name
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def is_url(path: PathLike) -> bool:
    """Whether a path is a URL such as gs://bucket/folder."""
    return _URL.match(os.fspath(path)) is not None


def is_within(path: PathLike, folders: Sequence[str]) -> bool:
    """Whether a path is one of some folders, or lies in one, by their names alone."""
    path = os.path.normpath(path)
    return any(
        path == folder or path.startswith(f"{folder.rstrip('/')}/")
        for folder in map(os.path.normpath, folders)
    )


def expanded(path: PathLike) -> str:
    """A path with `~` and environment variables put in; a URL stays as it is.

    A relative path stays relative, to the folder where the command runs; `file://` is
    taken off. What exists under its literal name is that.

    Raises:
      ConfigError: a variable is not set, or `~NAME` is no user: such a path would make a
        folder that is literally called so.
    """
    text = os.fspath(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if is_url(text) or os.path.lexists(text):
        return text
    for match in _VARIABLE.finditer(text):
        name = match.group(1) or match.group(2)
        if name not in os.environ:
            raise ConfigError(
                f"the path {text!r} names the environment variable {name}, which is not "
                "set: set it, or write the path out"
            )
    found = os.path.expanduser(os.path.expandvars(text))
    if found.startswith("~"):
        raise ConfigError(
            f"the path {text!r} begins with the home of a user who does not exist here: "
            "write the path out, or './~…' for a name that begins so"
        )
    return found


def user_cache(name: str) -> str:
    """The folder of that name among our caches of this user; not expanded, nor made."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return os.path.join(caches, "dro_jax", name)


def make_folder(folder: PathLike, setting: str = "") -> pathlib.Path:
    """Makes a folder and those above it, where they are missing.

    Args:
      folder: a local path, expanded.
      setting: what gave it, as `MODEL_DIR` or `--output_dir`, for the error.

    Raises:
      ConfigError: it cannot be made or written to, or there is a file in its place.
    """
    path = pathlib.Path(folder)
    with _refusing(path, setting):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise ConfigError(
            f"{_named(path, setting)} may not be written to: give a folder that you may "
            "write to"
        )
    return path


def check_folder(folder: PathLike, setting: str = "") -> None:
    """Refuses what :func:`make_folder` would refuse; nothing is left behind.

    Args:
      folder, setting: as there.

    Raises:
      ConfigError: as there.
    """
    path = pathlib.Path(folder)
    with _refusing(path, setting):
        there = path.absolute()
        while not there.exists():
            there = there.parent
        # Permissions do not tell of read-only file systems, or of /proc; and another
        # process may be making the folder itself, which must then not be taken away.
        with tempfile.TemporaryDirectory(dir=there) as probe:
            missing = path.absolute().relative_to(there)
            (pathlib.Path(probe) / missing).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _refusing(folder: pathlib.Path, setting: str) -> Iterator[None]:
    """Turns what the system raises about a folder into a sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        name = _named(folder, setting)
        if isinstance(error, FileExistsError | NotADirectoryError):
            there = next((p for p in (folder, *folder.parents) if p.is_file()), folder)
            where = name if there == folder else f"{name}: {there}"
            raise ConfigError(f"{where} is a file: name a folder") from error
        raise ConfigError(
            f"{name} cannot be made ({reason(error)}): give a folder that you may write "
            "to"
        ) from error


def _named(folder: pathlib.Path, setting: str) -> str:
    return f"{setting} = {str(folder)!r}" if setting else f"the folder {folder}"


def reason(error: Exception) -> str:
    """Why the system refused a path, in its words, without the path."""
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__


def checkpoint_step(name: str) -> int | None:
    """N of a folder's name `checkpoint_N`; None, it is called otherwise."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None
