"""Orbax checkpoints in T5X's layout, which are also those of `dro-jax train`.

`checkpoint_N/state/` holds the tree `target` (the policy at its root, a value estimate
under `value`), `state/step`, `state/param_states` (the optimiser) and `flax_mutables`.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from etils import epath
from flax.traverse_util import unflatten_dict

from dro_jax.errors import CheckpointError
from dro_jax.interop import t5x_tree
from dro_jax.interop.locations import key_value_store, normalised, read_key
from dro_jax.interop.stored_model import Format, Leaf, StoredModel
from dro_jax.interop.t5x_tree import first_line
from dro_jax.interop.zarr_arrays import zarr_leaf

ITEM = "state"
_PREFIX = "checkpoint"
_CHUNK_BYTES = 64 * 2**20  # as T5X's own; hosts read the chunks that they need
_CACHE = {"cache_pool#ocdbt": {"total_bytes_limit": 100_000_000}}  # of the index


def open_orbax(folder: str | os.PathLike, format: Format = "t5x") -> StoredModel:
    """Reads what a checkpoint holds; its arrays are read when they are asked for.

    Args:
      folder: a `checkpoint_N` folder, or its URL.
      format: which of the two trainers' checkpoints it is.

    Raises:
      CheckpointError: it cannot be read, or holds no T5.
    """
    folder = normalised(folder)
    if folder.startswith(("http://", "https://")):
        raise CheckpointError(
            f"{folder}: Orbax checkpoints cannot be read over http. Copy it to a local "
            "folder or a bucket (gs://, s3://)"
        )
    with _reading(folder):
        tree = jax.tree_util.tree_flatten_with_path(_metadata(folder))[0]
        # Anything else is text.
        arrays = {_name(path): x for path, x in tree if hasattr(x, "dtype")}
        if not any(name.startswith("target/") for name in arrays):
            raise KeyError("it has no 'target'")
        is_ocdbt = read_key(folder, f"{ITEM}/manifest.ocdbt") is not None
        index = json.loads(read_key(folder, f"{ITEM}/_METADATA") or b"{}")
    context = ts.Context(_CACHE)
    leaves = {
        name: zarr_leaf(
            f"{name} in {folder}",
            _key_value_store(folder, name.replace("/", "."), is_ocdbt),
            tuple(getattr(x, "shape", ())),  # numbers have none
            np.dtype(x.dtype),
            origin=name,
            driver="zarr3" if index.get("use_zarr3") else "zarr",
            context=context,
        )
        for name, x in arrays.items()
    }
    return t5x_tree.stored_model(leaves, folder, format)


def write_orbax(stored: StoredModel, destination: str | os.PathLike) -> None:
    """Writes `DESTINATION/checkpoint_N/state/` as T5X's checkpoint manager does.

    Args:
      stored: what to write; one array at a time is in memory.
      destination: a folder.

    Raises:
      CheckpointError: an array cannot be read.
    """
    registry = ocp.type_handlers.create_type_handler_registry(
        (Leaf, _LeafHandler()),
        (np.ndarray, ocp.type_handlers.NumpyHandler()),
        # None is written, but Orbax warns where their handler is missing.
        (jax.Array, ocp.type_handlers.ArrayHandler()),
    )
    leaves = t5x_tree.leaves(stored)
    save_args = dict.fromkeys(leaves, ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES))
    tree: dict[str, Any] = leaves | {"state/step": np.int32(stored.step)[...]}
    save_args["state/step"] = ocp.SaveArgs()
    with ocp.CheckpointManager(
        epath.Path(destination).absolute(),
        item_handlers={
            ITEM: ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
        },
        options=ocp.CheckpointManagerOptions(
            step_prefix=_PREFIX, enable_async_checkpointing=False
        ),
    ) as manager:
        arguments = ocp.args.PyTreeSave(
            unflatten_dict(tree, sep="/"),
            save_args=unflatten_dict(save_args, sep="/"),
        )
        manager.save(stored.step, args=ocp.args.Composite(**{ITEM: arguments}))


class _LeafHandler(ocp.type_handlers.NumpyHandler):
    """Writes arrays that are on disk, reading each when its turn has come."""

    def __init__(self):
        super().__init__(deepcopy_host_arrays=False)

    async def serialize(self, values, infos, args=None):
        for leaf, info, arg in zip(values, infos, args, strict=True):
            written = await super().serialize([leaf.read()], [info], [arg])
            for future in written:
                future.result()
        return []


def _name(path: Any) -> str:
    """A leaf's name; an optimiser's state has lists among the dictionaries."""
    return "/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


def _metadata(folder: str) -> dict[str, Any]:
    handler = ocp.PyTreeCheckpointHandler()
    try:
        return handler.metadata(epath.Path(folder) / ITEM).tree
    finally:
        handler.close()


def _key_value_store(folder: str, name: str, is_ocdbt: bool) -> dict[str, Any]:
    """Where an array's zarr files are: Orbax itself reads its index anew for each."""
    if not is_ocdbt:
        return key_value_store(folder, f"{ITEM}/{name}/")
    return {
        "driver": "ocdbt",
        "base": key_value_store(folder, f"{ITEM}/"),
        "path": f"{name}/",
        "cache_pool": "cache_pool#ocdbt",
    }


@contextlib.contextmanager
def _reading(folder: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # Orbax and what it reads URLs with raise many types
        raise CheckpointError(
            f"the checkpoint {folder} cannot be read ({first_line(error)}): it is "
            "incomplete or damaged, or no checkpoint of dro_jax or T5X (Orbax). Take "
            "another step's folder, copy it again, or train it again"
        ) from error
