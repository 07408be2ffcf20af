"""Stored parameters in the other of T5X's two layouts, converted as they are read."""

import dataclasses

import numpy as np

from dro_jax.interop.stored_model import Leaf, Leaves, StoredModel
from dro_jax.models import layer_stacking
from dro_jax.models.layer_stacking import Stacking, Unstacking
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS


def in_layout(stored: StoredModel, scan_layers: bool) -> StoredModel:
    """A stored model with policy, value and reference in one of T5X's layouts.

    Args:
      stored: the model.
      scan_layers: whether layers are to be stacked.

    Raises:
      CheckpointError: as :func:`with_layers`.
    """
    return dataclasses.replace(
        stored,
        config=dataclasses.replace(stored.config, scan_layers=scan_layers),
        policy=with_layers(stored.policy, scan_layers),
        value=with_layers(stored.value, scan_layers),
        reference=with_layers(stored.reference, scan_layers),
    )


def with_layers(leaves: Leaves, scan_layers: bool) -> Leaves:
    """A network's parameters, its layers stacked or not.

    Nothing is read yet but the layers' relative position biases, where layers are
    unstacked. A stacked parameter reads one layer after the other. The layers of a
    stacked parameter come one after the other in the mapping, and those read in that
    order read it once: the stacked parameter read last is kept until the next.

    Args:
      leaves: of a policy or a value network; those of no layer pass through.
      scan_layers: whether layers are to be stacked.

    Returns:
      The leaves, by the names of the layout asked for.

    Raises:
      CheckpointError: layers to unstack have different relative position biases, or
        parameters are not those of a T5.
    """
    has_layers = any(name.startswith(("encoder/", "decoder/")) for name in leaves)
    if not has_layers or layer_stacking.is_stacked(leaves) == scan_layers:
        return leaves
    shapes = {name: leaf.shape for name, leaf in leaves.items()}
    return _stacked(leaves, shapes) if scan_layers else _unstacked(leaves, shapes)


def _stacked(leaves: Leaves, shapes) -> Leaves:
    plan = layer_stacking.stacking(shapes)
    used = {source for entry in plan.values() for source in entry.sources}
    kept = {name: leaf for name, leaf in leaves.items() if name not in used}
    return kept | {name: _stacked_leaf(leaves, entry) for name, entry in plan.items()}


def _stacked_leaf(leaves: Leaves, entry: Stacking) -> Leaf:
    first = leaves[entry.sources[0]]

    def read() -> np.ndarray:
        stacked = np.empty(entry.shape, first.dtype)
        layers = np.moveaxis(stacked, PARAM_SCAN_AXIS, 0)
        for layer, source in zip(layers, entry.sources, strict=True):
            layer[...] = leaves[source].read().reshape(entry.layer_shape)
        return stacked

    return Leaf(entry.shape, first.dtype, read, origin=f"{first.origin} and the others")


def _unstacked(leaves: Leaves, shapes) -> Leaves:
    plan = layer_stacking.unstacking(shapes)
    for name in layer_stacking.shared_biases(plan):
        layer_stacking.check_shared_bias(name, leaves[name].read())
    used = {entry.source for entry in plan.values()}
    kept = {name: leaf for name, leaf in leaves.items() if name not in used}
    last = _LastRead(leaves)
    return kept | {
        name: _unstacked_leaf(leaves[entry.source], entry, last)
        for name, entry in plan.items()
    }


def _unstacked_leaf(source: Leaf, entry: Unstacking, last: "_LastRead") -> Leaf:
    return Leaf(
        entry.shape,
        source.dtype,
        lambda: np.ascontiguousarray(entry.take(last.read(entry.source))),
        origin=f"{source.origin}[:, {entry.layer}]",
    )


class _LastRead:
    """Reads leaves and keeps the last, for those that take a layer of it each."""

    def __init__(self, leaves: Leaves):
        self._leaves = leaves
        self._last: tuple[str, np.ndarray] | None = None

    def read(self, name: str) -> np.ndarray:
        last = self._last
        if last is None or last[0] != name:
            self._last = None  # dropped first: two need not fit
            del last
            self._last = last = (name, self._leaves[name].read())
        return last[1]
