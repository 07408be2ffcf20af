"""Folders that are local or behind a URL which TensorStore understands."""

import os
import pathlib
from typing import Any

import tensorstore as ts

from dro_jax.errors import CheckpointError
from dro_jax.interop.t5x_tree import first_line
from dro_jax.paths import expanded, is_url

# A place that is not there is told of soon; arrays are read with TensorStore's own
# patience (32 tries).
_RETRIES = {
    f"{service}_request_retries": {"max_retries": 3}
    for service in ("gcs", "s3", "http")
}


def normalised(path: str | os.PathLike) -> str:
    """A local path made absolute, or a URL without a `/` at its end.

    Raises:
      ConfigError: the path names a variable that is not set.
    """
    text = expanded(path)
    return text.rstrip("/") if is_url(text) else os.path.abspath(text)


def check_free(destination: pathlib.Path) -> None:
    """Refuses to write where there is something already.

    Raises:
      CheckpointError: the destination is a file, or a folder that is not empty.
    """
    if destination.exists() and not (
        destination.is_dir() and not any(destination.iterdir())
    ):
        raise CheckpointError(
            f"{destination} is there already, and not empty: give another destination, "
            "or remove it"
        )


def key_value_store(folder: str, name: str = "") -> dict[str, Any]:
    """TensorStore's specification of what lies in a folder, `name` appended.

    Raises:
      CheckpointError: TensorStore does not understand the URL.
    """
    if not is_url(folder):
        return {"driver": "file", "path": os.path.join(os.path.abspath(folder), name)}
    try:
        spec = ts.KvStore.Spec(f"{folder.rstrip('/')}/").to_json()
    except ValueError as error:
        raise CheckpointError(
            f"{folder} is no URL that TensorStore can read ({first_line(error)}): give "
            "gs://, s3:// or http(s)://, or a local folder"
        ) from error
    return spec | {"path": spec.get("path", "") + name}


def read_key(folder: str, name: str) -> bytes | None:
    """A file's contents; None where there is no such file.

    Raises:
      CheckpointError: the place cannot be reached, or the file cannot be read.
    """
    try:
        store = _open(folder)
        found = store.read(name).result()
    except (ValueError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{folder}/{name} cannot be read ({first_line(error)})"
        ) from error
    return found.value if found.state == "value" else None


def names(folder: str, prefix: str) -> list[str]:
    """What lies directly in a folder, of names that begin so.

    Raises:
      CheckpointError: the place cannot be reached, or cannot list what it has.
    """
    if not is_url(folder):
        return sorted(name for name in os.listdir(folder) if name.startswith(prefix))
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    try:
        store = _open(folder)
        keys = store.list(ts.KvStore.KeyRange(prefix, end)).result()
    except (ValueError, OSError, NotImplementedError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{folder} cannot be listed ({first_line(error)}): give the URL of one "
            "checkpoint_N folder in it"
        ) from error
    return sorted({key.decode().split("/")[0] for key in keys})


def _open(folder: str) -> ts.KvStore:
    return ts.KvStore.open(
        key_value_store(folder), context=ts.Context(_RETRIES)
    ).result()
