"""Which process does which part of the work in a folder that several work in.

A claim is a file that its owner touches while it works. It only saves work: results are
written to files of their own and renamed whole, so a part that two processes do is done
as well. Hence nothing here needs locks, which file systems over a network may lack.
"""

import contextlib
import json
import os
import pathlib
import time
import uuid
from typing import Self

from dro_jax.processes import has_ended, process_start, process_world

_TOUCH_SECONDS = 5.0
# An owner elsewhere that has not touched its claim for so long is gone.
SILENT_SECONDS = 60.0


class Claim:
    """A part of the work that is this process's to do.

    Args:
      path: the claim's file, made by :func:`take`.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._touched = time.monotonic()

    def touch(self) -> None:
        """Tells the others that the work goes on; to be called now and then."""
        if time.monotonic() - self._touched > _TOUCH_SECONDS:
            self._touched = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def take(folder: pathlib.Path, name: str) -> Claim | None:
    """Claims a part of the work; None where another process is at it.

    Raises:
      OSError: the folder cannot be written to.
    """
    path = folder / f"{name}.claim"
    for _ in range(2):
        try:
            with path.open("x") as file:
                json.dump(_self(), file)
            return Claim(path)
        except FileExistsError:
            if not _is_abandoned(path):
                return None
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    return None


def any_taken(folder: pathlib.Path) -> bool:
    """Whether some process works in the folder."""
    return any(not _is_abandoned(path) for path in folder.glob("*.claim"))


def _self() -> dict[str, str | int]:
    number = os.getpid()
    return {
        "world": process_world(),
        "process": number,
        "start": process_start(number),
    }


def _is_abandoned(path: pathlib.Path) -> bool:
    try:
        touched = path.stat().st_mtime
        owner = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        owner = {}  # just being written
    if owner.get("world") and owner["world"] == process_world():
        return has_ended(owner["process"], owner["start"])
    return _now(path.parent) - touched > SILENT_SECONDS


def _now(folder: pathlib.Path) -> float:
    """The file system's time: clocks of hosts may differ from it."""
    probe = folder / f"{uuid.uuid4().hex}.partial"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
