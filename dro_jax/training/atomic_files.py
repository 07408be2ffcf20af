"""Files that are seen whole or not at all, and folders that belong to what made them."""

import json
import pathlib
import time
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.paths import make_folder
from dro_jax.training.run_progress import differences
from dro_jax.whole_files import place_new, write_json, write_whole

__all__ = [
    "claim_folder",
    "place_new",
    "read_arrays",
    "write_arrays",
    "write_json",
    "write_whole",
]

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
        # `new`: of two runs that come at once one writes its key, and the other is judged
        # by it, where a rename would put the second over the first.
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
