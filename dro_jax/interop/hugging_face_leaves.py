"""Parameters as `Leaf`s from Hugging Face's tensors, and back, one at a time."""

from collections.abc import Iterator, Mapping

import jax
import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.interop.hugging_face_files import Form, StoredTensor
from dro_jax.interop.hugging_face_names import (
    STACKS,
    is_stacked,
    is_transposed,
    parameter_shape,
    stored_shape,
    to_ours,
    to_theirs,
)
from dro_jax.interop.stored_model import Leaf, Leaves
from dro_jax.models.t5_config import T5Config
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS
from dro_jax.plurals import counted

Names = Mapping[str, tuple[str, ...]]  # as `parameter_names` gives them


def leaves_of(
    tensors: Mapping[str, StoredTensor], names: Names, config: T5Config, where: str
) -> Leaves:
    """The parameters that tensors hold; nothing is read yet.

    Args:
      tensors: by Hugging Face's names.
      names: the parameters wanted, each with the names of its parts.
      config: the network they are for, in either layout.
      where: the folder, for messages.

    Raises:
      CheckpointError: a tensor is missing or has another shape.
    """
    missing = [
        part for parts in names.values() for part in parts if part not in tensors
    ]
    if missing:
        more = f" and {counted(len(missing) - 1, 'other')}" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{where} has no tensor {missing[0]!r}{more}; its weights and its "
            "config.json do not describe the same T5, or a file is incomplete."
        )
    leaves = {}
    for path, parts in names.items():
        stored = [tensors[part] for part in parts]
        for tensor in stored:
            wanted = stored_shape(path, config)
            if tensor.form.shape != wanted:
                raise CheckpointError(
                    f"{tensor.name!r} of {tensor.file} has shape {tensor.form.shape}, "
                    f"but by its config.json a T5 has {wanted} there ({path})."
                )
        leaves[path] = _leaf(path, stored, config)
    return leaves


def _leaf(path: str, stored: list[StoredTensor], config: T5Config) -> Leaf:
    shape = parameter_shape(path, stored, config)
    first = stored[0]
    if is_stacked(path, config):
        others = f" to {stored[-1].name}" if len(stored) > 1 else ""
        return Leaf(
            shape,
            first.form.dtype,
            lambda: _read_stacked(path, stored, shape, config),
            origin=f"{first.origin}{others}",
        )

    def read_sharded(sharding):
        return jax.make_array_from_callback(
            shape, sharding, lambda index: _part(path, first, index)
        )

    return Leaf(
        shape,
        first.form.dtype,
        lambda: np.ascontiguousarray(to_ours(first.read(), path, config)),
        read_sharded,
        origin=first.origin,
    )


def _read_stacked(path, stored, shape, config) -> np.ndarray:
    stacked = np.empty(shape, stored[0].form.dtype)
    # A view: layers are written into their places, and one at a time is in memory.
    layers = np.moveaxis(stacked, PARAM_SCAN_AXIS, 0)
    for layer, tensor in zip(layers, stored, strict=True):
        layer[...] = to_ours(tensor.read(), path, config)
    return stacked


def _part(path: str, tensor: StoredTensor, index: tuple[slice, ...]) -> np.ndarray:
    # A part of a transpose is the transpose of the part with swapped slices, so a
    # device's part alone is read.
    if is_transposed(path):
        return np.ascontiguousarray(tensor.read(index[::-1]).T)
    return tensor.read(index)


def forms_of(leaves: Leaves, names: Names, config: T5Config) -> dict[str, Form]:
    """Shape and type of each tensor that parameters become.

    Args:
      leaves: the parameters.
      names: each with the names of its parts.
      config: their network, in their layout.

    Raises:
      CheckpointError: a parameter has no place, is missing or has another shape.
    """
    foreign = [path for path in leaves if path not in names]
    missing = [path for path in names if path not in leaves]
    if foreign or missing:
        raise CheckpointError(
            f"the parameters are not those of a T5 of this configuration: "
            f"{'unexpected' if foreign else 'missing'} {(foreign or missing)[0]}."
        )
    forms = {}
    for path, parts in names.items():
        leaf = leaves[path]
        wanted = parameter_shape(path, parts, config)
        if tuple(leaf.shape) != wanted:
            raise CheckpointError(
                f"the parameter {path} ({leaf.origin}) has shape {tuple(leaf.shape)}, "
                f"but a T5 of this configuration has {wanted}."
            )
        form = Form(stored_shape(path, config), np.dtype(leaf.dtype))
        forms |= dict.fromkeys(parts, form)
    return forms


def tensors_of(
    leaves: Leaves, names: Names, config: T5Config
) -> Iterator[tuple[str, np.ndarray]]:
    """Each tensor that parameters become, reading one parameter at a time."""
    for path, parts in names.items():
        layers = [leaves[path].read()]
        if is_stacked(path, config):
            layers = np.moveaxis(layers[0], PARAM_SCAN_AXIS, 0)
        # Several layers may share one bias.
        for part, layer in dict(zip(parts, layers, strict=True)).items():
            yield part, to_theirs(layer, path, config)


def biases_differ(leaves: Leaves, config: T5Config) -> bool:
    """Whether stacked layers have different relative position biases, as umT5's."""
    for stack in STACKS:
        leaf = leaves.get(f"{stack}/{stack}/relpos_bias/rel_embedding")
        if config.scan_layers and leaf is not None:
            biases = np.moveaxis(leaf.read(), PARAM_SCAN_AXIS, 0)
            if (biases != biases[:1]).any():
                return True
    return False
