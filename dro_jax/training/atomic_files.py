"""Files that are seen whole or not at all, and folders that belong to what made them."""

import contextlib
import json
import os
import pathlib
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.paths import make_folder
from dro_jax.training.run_progress import differences

_KEY = "key.json"


def claim_folder(
    folder: pathlib.Path, key: Mapping[str, str], what: str, advice: str
) -> None:
    """Makes a folder for what has this key.

    Args:
      folder: made if need be.
      key: what the folder's contents depend on, in words and fingerprints, by name.
      what: what they are and how they came about, `the … were computed`.
      advice: what to do about another key.

    Raises:
      CheckpointError: the folder has another key; the message says what differs.
      ConfigError: the folder cannot be made.
    """
    make_folder(folder)
    path = folder / _KEY
    if not path.exists():
        write_json(path, key, new=True)
    # Also what was just written: another run may have been first.
    if changed := differences(_read_key(path), key):
        raise CheckpointError(
            f"{what} in {folder} from something else than this run uses. What differs "
            f"(kept → run): {changed}. {advice}"
        )


def _read_key(path: pathlib.Path) -> Any:
    for _ in range(20):
        if text := path.read_text("utf-8"):
            return json.loads(text)
        time.sleep(0.05)  # just made, by `place_new` where there are no links
    raise CheckpointError(f"{path} is empty: delete its folder")


def write_whole(
    path: pathlib.Path, write: Callable[[BinaryIO], Any], *, new: bool = False
) -> None:
    """Writes a file that is seen whole or not at all; `new` never replaces one."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
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


def write_json(path: pathlib.Path, value: Any, *, new: bool = False) -> None:
    """Writes a value as JSON that people can read."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()), new=new)


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name, NumPy's `.npz`."""
    write_whole(path, lambda file: np.savez(file, **arrays))


def read_arrays(
    path: pathlib.Path, what: str, names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """What :func:`write_arrays` wrote, or some of it; no pickle is read.

    Raises:
      CheckpointError: the file is damaged; the message begins with `what`.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names or arrays.files}
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, what, error) from error


def write_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes one array, which may be mapped, NumPy's `.npy`."""
    write_whole(path, lambda file: np.save(file, array))


def map_array(path: pathlib.Path, what: str) -> np.ndarray:
    """What :func:`write_array` wrote, mapped: only what is used is read.

    Raises:
      CheckpointError: the file is damaged; the message begins with `what`.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(path, what, error) from error


def _unreadable(path: pathlib.Path, what: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{what} {path} cannot be read ({error}): delete it, and the run computes it anew"
    )
