"""Orbax checkpoints in T5X's layout, which are also those of `dro-jax train`.

`checkpoint_N/state/` holds the tree `target` (the policy at its root, a value estimate
under `value`), `state/step`, `state/param_states` (the optimiser) and `flax_mutables`.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
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
from dro_jax.interop.zarr_arrays import zarr_leaf, zarr_spec

ITEM = "state"
_PREFIX = "checkpoint"
_ARRAYS = ("jax.Array", "np.ndarray", "scalar")  # as the index calls them
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
    return t5x_tree.stored_model(orbax_leaves(folder), normalised(folder), format)


def orbax_leaves(folder: str | os.PathLike) -> dict[str, Leaf]:
    """The arrays of a checkpoint by their names in its train state.

    Args:
      folder: a `checkpoint_N` folder, or its URL.

    Raises:
      CheckpointError: it cannot be read.
    """
    folder = normalised(folder)
    if folder.startswith(("http://", "https://")):
        raise CheckpointError(
            f"{folder}: Orbax checkpoints cannot be read over http. Copy it to a local "
            "folder or a bucket (gs://, s3://)"
        )
    context = ts.Context(_CACHE)
    with _reading(folder):
        arrays = _open_arrays(folder, context)
        if not any(name.startswith("target/") for name in arrays):
            raise KeyError("it has no 'target'")
    return {
        name: zarr_leaf(
            f"{name} in {folder}",
            spec,
            array.shape,
            array.dtype.numpy_dtype,
            origin=name,
            context=context,
        )
        for name, (spec, array) in arrays.items()
    }


def write_orbax(stored: StoredModel, destination: str | os.PathLike) -> None:
    """Writes `DESTINATION/checkpoint_N/state/` as T5X's checkpoint manager does.

    Args:
      stored: what to write; one array at a time is in memory.
      destination: a folder.

    Raises:
      CheckpointError: an array cannot be read.
    """
    leaves = t5x_tree.leaves(stored)
    registry = ocp.type_handlers.create_type_handler_registry(
        (Leaf, _LeafHandler(leaves.values())),
        (np.ndarray, ocp.type_handlers.NumpyHandler()),
        # None is written, but Orbax warns where their handler is missing.
        (jax.Array, ocp.type_handlers.ArrayHandler()),
    )
    save_args = dict.fromkeys(leaves, ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES))
    # Indexed by `...`, a scalar is an array without axes, as T5X's step is.
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
    """Writes arrays that are on disk, reading each when its turn has come.

    Args:
      leaves: in the order to write them in: those of one stacked array together, as
        reading it anew for each layer would cost.
    """

    def __init__(self, leaves: Iterable[Leaf]):
        # Orbax copies what a training step might change meanwhile; this is read anew.
        super().__init__(deepcopy_host_arrays=False)
        self._turns = {id(leaf): turn for turn, leaf in enumerate(leaves)}

    async def serialize(self, values, infos, args=None):
        jobs = zip(values, infos, args, strict=True)
        for leaf, info, arg in sorted(jobs, key=lambda job: self._turns[id(job[0])]):
            written = await super().serialize([leaf.read()], [info], [arg])
            # Waited for here, or the arrays to come would be read while this is kept.
            for future in written:
                future.result()
        return []


def saved_shapes(folder: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes in a `checkpoint_N` folder by name; no array is read.

    Raises:
      CheckpointError: the checkpoint cannot be read.
    """
    folder = normalised(folder)
    with _reading(folder):
        arrays = _open_arrays(folder, ts.Context(_CACHE))
        return {name: array.shape for name, (_, array) in arrays.items()}


def tree_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a tree's arrays by the names that they have in a checkpoint.

    Args:
      tree: dictionaries, lists and named tuples of arrays, or of what describes them.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"/".join(map(_key, path)): leaf.shape for path, leaf in leaves}


def _key(entry: Any) -> str:
    for attribute in ("key", "idx", "name"):  # of dictionaries, lists, named tuples
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def _open_arrays(
    folder: str, context: ts.Context
) -> dict[str, tuple[dict[str, Any], ts.TensorStore]]:
    """Each array's specification and the array, open.

    Orbax's own function for this ends its event loop at the first array that is
    damaged, under those that it still waits for.
    """
    content = read_key(folder, f"{ITEM}/_METADATA")
    if content is None:
        raise FileNotFoundError(f"it has no file {ITEM}/_METADATA")
    index = json.loads(content)
    is_ocdbt = read_key(folder, f"{ITEM}/manifest.ocdbt") is not None
    driver = "zarr3" if index.get("use_zarr3") else "zarr"
    opening = {}
    for entry in index["tree_metadata"].values():
        if entry["value_metadata"]["value_type"] in _ARRAYS:
            path = [str(key["key"]) for key in entry["key_metadata"]]
            store = _key_value_store(folder, ".".join(path), is_ocdbt)
            spec = zarr_spec(store, driver)
            opening["/".join(path)] = spec, ts.open(spec, open=True, context=context)
    # All are being opened before one is waited for: of a bucket each is a round trip.
    return {name: (spec, array.result()) for name, (spec, array) in opening.items()}


def _key_value_store(folder: str, name: str, is_ocdbt: bool) -> dict[str, Any]:
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
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be read ({first_line(error)}): it is "
            "incomplete or damaged, or no checkpoint of dro_jax or T5X (Orbax). Take "
            "another step's folder, copy it again, or train it again"
        ) from error
