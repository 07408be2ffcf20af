"""T5X's legacy checkpoints: a msgpack index, and a zarr folder for each large array.

`checkpoint_N/checkpoint` is msgpack `{version: 3, optimizer: {target, state,
flax_mutables}}`. Small arrays are in it; of a large one it holds a TensorStore spec,
and the array lies beside in a zarr folder, `target.encoder.….kernel`. Specs may name
the place where T5X wrote them, so only the folder's name is taken from them.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import tensorstore as ts
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict

from dro_jax.errors import CheckpointError
from dro_jax.interop import t5x_tree
from dro_jax.interop.locations import key_value_store, normalised, read_key
from dro_jax.interop.stored_model import Leaf, StoredModel
from dro_jax.interop.t5x_tree import first_line
from dro_jax.interop.zarr_arrays import ADVICE, zarr_leaf, zarr_spec

INDEX = "checkpoint"
_VERSION = 3
_VERSIONS = (2, 3)
_CHUNK_BYTES = 64 * 2**20
_TENSORFLOW = b"model_checkpoint_path"


def open_legacy(folder: str | os.PathLike) -> StoredModel:
    """Reads a checkpoint's index; large arrays are read when they are asked for.

    Args:
      folder: a `checkpoint_N` folder, or its URL as TensorStore understands it.

    Raises:
      CheckpointError: the index cannot be read, or the checkpoint holds no T5.
    """
    folder = normalised(folder)
    state = _read_index(folder)
    # A folder's spec looks like one more level of names.
    flat = flatten_dict(state, sep="/", is_leaf=lambda _, node: _is_spec(node))
    leaves = {
        name: _leaf(folder, name, entry)
        for name, entry in flat.items()
        if entry is not None and not (isinstance(entry, dict) and not entry)
    }
    return t5x_tree.stored_model(leaves, folder, "t5x-legacy")


def write_legacy(stored: StoredModel, destination: str | os.PathLike) -> None:
    """Writes `DESTINATION/checkpoint_N/` as T5X does with `use_orbax = False`.

    Args:
      stored: what to write; one array at a time is in memory.
      destination: a folder.

    Raises:
      CheckpointError: an array cannot be read.
    """
    folder = os.path.join(destination, f"checkpoint_{stored.step}")
    os.makedirs(folder)
    index = {t5x_tree.STEP: np.int32(stored.step)[...]}
    for name, leaf in t5x_tree.leaves(stored).items():
        index[name] = _write_array(folder, name, leaf.read())
    contents = {"version": _VERSION, "optimizer": unflatten_dict(index, sep="/")}
    # Last: what has an index is whole.
    with open(os.path.join(folder, INDEX), "wb") as file:
        file.write(serialization.msgpack_serialize(contents))


def _read_index(folder: str) -> Mapping[str, Any]:
    path = f"{folder.rstrip('/')}/{INDEX}"
    data = read_key(folder, INDEX)
    if data is None:
        raise CheckpointError(f"there is no {path}, the index of a T5X checkpoint")
    if data.startswith(_TENSORFLOW):
        raise CheckpointError(
            f"{path} belongs to a TensorFlow checkpoint (Mesh TensorFlow's T5): convert "
            "it with T5X's scripts/convert_tf_checkpoint.py"
        )
    try:
        contents = serialization.msgpack_restore(data)
        version, state = contents["version"], contents["optimizer"]
    except Exception as error:  # msgpack has a type of error for each kind of damage
        raise CheckpointError(
            f"{path} is no index of a T5X checkpoint, or is damaged "
            f"({first_line(error)}). {ADVICE}"
        ) from error
    if version not in _VERSIONS or not isinstance(state, dict):
        raise CheckpointError(
            f"{path} is a T5X checkpoint of version {version!r}; versions 2 and 3 can "
            "be read. Restore and save it with a T5X of its time"
        )
    return state


def _is_spec(node: Any) -> bool:
    return isinstance(node, Mapping) and "driver" in node and "metadata" in node


def _leaf(folder: str, name: str, entry: Any) -> Leaf:
    if not _is_spec(entry):
        return _inline_leaf(folder, name, entry)
    try:
        # Old specs have the path outside the store, and it is that of T5X's bucket.
        path = entry["kvstore"].get("path") or entry["path"]
        zarr = path.rstrip("/").split("/")[-1]
        dtype = np.dtype(jnp.dtype(entry["dtype"]))
        shape = tuple(map(int, entry["metadata"]["shape"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{name} in {folder}/{INDEX} is no description of an array that can be "
            f"read ({first_line(error)}). {ADVICE}"
        ) from error

    if dtype == np.uint16:
        raise CheckpointError(
            f"{name} in {folder}/{INDEX} is of type uint16, as T5X kept bfloat16 before "
            "2021. Restore and save it with a T5X of that time as float32"
        )

    return zarr_leaf(
        f"{name} in {folder} (its folder {zarr})",
        zarr_spec(key_value_store(folder, f"{zarr}/")),
        shape,
        dtype,
        origin=zarr,
    )


def _inline_leaf(folder: str, name: str, entry: Any) -> Leaf:
    array = np.asarray(entry)
    if array.dtype.kind in "OSUM":
        raise CheckpointError(
            f"{name} in {folder}/{INDEX} is no array but {type(entry).__name__}. "
            f"{ADVICE}"
        )
    return Leaf(array.shape, array.dtype, lambda: array, origin=name)


def _write_array(folder: str, name: str, array: np.ndarray) -> dict[str, Any]:
    """Writes a zarr folder; returns what the index holds in the array's place."""
    zarr = name.replace("/", ".")
    kvstore = {"driver": "file", "path": f"{zarr}/"}
    spec = {
        "driver": "zarr",
        "dtype": array.dtype.name,
        "kvstore": kvstore,
        "metadata": {
            "chunks": _chunks(array.shape, array.dtype.itemsize),
            "compressor": {"id": "gzip", "level": 1},
            "shape": list(array.shape),
        },
    }
    place = kvstore | {"path": os.path.join(os.path.abspath(folder), zarr) + "/"}
    # Zeros too, so that a chunk that is lost can be told from one never written.
    target = spec | {"kvstore": place, "store_data_equal_to_fill_value": True}
    ts.open(target, create=True, open=False).result().write(array).result()
    return spec


def _chunks(shape: tuple[int, ...], itemsize: int) -> list[int]:
    """Chunks of at most 64 MiB that divide the array evenly."""
    chunks = list(shape)
    # The longest axis gives way first, to its largest divisor: no chunk is ragged.
    while np.prod(chunks, dtype=np.int64) * itemsize > _CHUNK_BYTES:
        longest = int(np.argmax(chunks))
        length = chunks[longest]
        chunks[longest] = max(n for n in range(1, length) if length % n == 0)
    return chunks
