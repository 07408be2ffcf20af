"""Files that are seen whole or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable
from typing import Any, BinaryIO


def write_whole(
    path: pathlib.Path,
    write: Callable[[BinaryIO], Any],
    *,
    new: bool = False,
    durable: bool = True,
) -> None:
    """Writes a file that is seen whole or not at all.

    Args:
      path: the file.
      write: is given it to be written.
      new: never replace one.
      durable: wait until it is on the disk, so that no failing computer can lose it; it
        takes milliseconds.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if new:
            with contextlib.suppress(FileExistsError):
                place_new(partial, path)
        else:
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, partial)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def place_new(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a written file its name, if nothing has that name; one of many succeeds.

    Raises:
      FileExistsError: something has.
    """
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        # Some shared file systems, mounted buckets among them, have no second names for
        # a file. The new one is then empty for a moment.
        with path.open("xb") as file:
            file.write(partial.read_bytes())


def write_json(
    path: pathlib.Path, value: Any, *, new: bool = False, durable: bool = True
) -> None:
    """Writes a value as JSON that people can read."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()), new=new, durable=durable)
