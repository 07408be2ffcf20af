"""Arrays in TensorStore's zarr drivers, read whole or in parts."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from dro_jax.errors import CheckpointError
from dro_jax.interop.stored_model import Leaf
from dro_jax.interop.t5x_tree import first_line

ADVICE = "Copy the checkpoint again, or take another step's folder"


def zarr_spec(kvstore: Mapping[str, Any], driver: str = "zarr") -> dict[str, Any]:
    """TensorStore's specification of the array in a folder.

    Args:
      kvstore: that of the folder.
      driver: `zarr` or `zarr3`.
    """
    # Without the last a chunk that is lost reads as zeros.
    return {
        "driver": driver,
        "kvstore": dict(kvstore),
        "fill_missing_data_reads": False,
    }


def zarr_leaf(
    where: str,
    spec: Mapping[str, Any],
    shape: tuple[int, ...],
    dtype: np.dtype,
    *,
    origin: str,
    context: ts.Context | None = None,
) -> Leaf:
    """An array in a zarr folder; nothing is read yet.

    Args:
      where: the array's name and place, for messages.
      spec: what :func:`zarr_spec` made.
      shape, dtype: what the checkpoint says of it, checked when it is read.
      origin: its name in the checkpoint.
      context: shares caches among the arrays of a checkpoint.
    """

    def read(index: Any = ...) -> np.ndarray:
        try:
            array = ts.open(dict(spec), open=True, context=context).result()
            if array.shape != shape or array.dtype.numpy_dtype != dtype:
                raise CheckpointError(
                    f"{where} has shape {array.shape} and type {array.dtype.name}, but "
                    f"the index says {shape} and {dtype}. {ADVICE}"
                )
            return np.asarray(array[index].read().result())
        except CheckpointError:
            raise
        except (ValueError, KeyError, OSError, OverflowError) as error:
            raise CheckpointError(
                f"{where} cannot be read ({first_line(error)}): it is missing, "
                f"incomplete or damaged. {ADVICE}"
            ) from error

    def read_sharded(sharding: jax.sharding.Sharding) -> jax.Array:
        parts = {}  # several devices may hold the same part

        def part(index: tuple[slice, ...]) -> np.ndarray:
            key = tuple((part.start, part.stop) for part in index)
            if key not in parts:
                parts[key] = read(index)
            return parts[key]

        return jax.make_array_from_callback(shape, sharding, part)

    return Leaf(shape, dtype, read, read_sharded, origin)
