"""Converts parameters between T5X's two layouts: a subtree a layer, or layers stacked.

``t5`` (``scan_layers=False``) keeps ``layers_0``, ``layers_1``, … with attention
kernels as matrices and one relative position bias a stack. ``scalable_t5``
(``scan_layers=True``) keeps one subtree named as its stack, every parameter with the
layers as axis 1, attention kernels with heads as an axis, and a bias in each layer.

The rules are about names and shapes: :func:`stacking` and :func:`unstacking` say where
each parameter comes from. They hold for a policy and for a value network's trunk,
which has the same names under ``value/``.
"""

import collections
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dro_jax.errors import CheckpointError
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS

Params = Mapping[str, Any]
Shape = tuple[int, ...]

_PATHS = ("encoder", "decoder", "value/encoder", "value/decoder")
_STACK = re.compile(r"((?:value/)?(encoder|decoder))/(.+)")
_LAYER = re.compile(r"layers_(\d+)/(.+)")
_KERNEL = re.compile(r"/(?:self_|encoder_decoder_)?attention/(\w+)/kernel$")
_BIAS = "relpos_bias/rel_embedding"


@dataclasses.dataclass(frozen=True)
class Stacking:
    """How a stacked parameter is made.

    Attributes:
      sources: the parameter of each layer, in the layout of ``t5``.
      layer_shape: what each is reshaped to before stacking, with heads as an axis.
    """

    sources: tuple[str, ...]
    layer_shape: Shape

    @property
    def shape(self) -> Shape:
        """The stacked parameter's shape."""
        before = self.layer_shape[:PARAM_SCAN_AXIS]
        return (*before, len(self.sources), *self.layer_shape[PARAM_SCAN_AXIS:])


@dataclasses.dataclass(frozen=True)
class Unstacking:
    """How a layer's parameter is made.

    Attributes:
      source: the stacked parameter, in the layout of ``scalable_t5``.
      layer: its index there on axis 1.
      shape: what that layer is reshaped to, with heads joined.
    """

    source: str
    layer: int
    shape: Shape

    def take(self, stacked: Any) -> Any:
        """The layer's parameter."""
        return stacked[:, self.layer].reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a stacked parameter: its stack's path, its shape in ``t5``'s layout."""

    stack: str
    shape: Shape


def layers_of(shapes: Mapping[str, Shape]) -> dict[str, Layer]:
    """By name the layers of stacked parameters, among those of any network."""
    layers = {}
    for path, names in _stacks(shapes).items():
        module = path.rpartition("/")[2]
        if f"{module}/{_BIAS}" not in names:
            continue
        stack = {f"{path}/{name}": shapes[f"{path}/{name}"] for name in names}
        for part in unstacking(stack).values():
            layers[part.source] = Layer(path, part.shape)
    return layers


def is_stacked(names: Any) -> bool:
    """Whether a network's parameter names are those of ``scalable_t5``."""
    return any(
        match[3].startswith(f"{match[2]}/")
        for match in map(_STACK.match, names)
        if match
    )


def stacking(shapes: Mapping[str, Shape]) -> dict[str, Stacking]:
    """What makes each stacked parameter; parameters of no layer are left out.

    Args:
      shapes: of the parameters in the layout of ``t5``, by name.

    Raises:
      CheckpointError: a stack has no layers of its own, or a layer lacks a parameter.
    """
    stacked = {}
    for path, names in _stacks(shapes).items():
        module = path.rpartition("/")[2]
        layers = collections.defaultdict(set)
        for name in names:
            if match := _LAYER.fullmatch(name):
                layers[int(match[1])].add(match[2])
        if not layers:
            raise CheckpointError(
                f"The parameters hold no '{path}/layers_0', so they are not those of a "
                "T5 with one subtree a layer; if they are stacked already, use them "
                "with scan_layers=True as they are."
            )
        bias = f"{path}/{_BIAS}"
        num_heads = _one_shape(shapes, [bias], rank=2)[0]
        for name in sorted(set.union(*layers.values())):
            sources = tuple(f"{path}/layers_{i}/{name}" for i in range(len(layers)))
            shape = _one_shape(shapes, sources)
            stacked[f"{path}/{module}/{name}"] = Stacking(
                sources, _split_heads(sources[0], shape, num_heads)
            )
        stacked[f"{path}/{module}/{_BIAS}"] = Stacking(
            (bias,) * len(layers), shapes[bias]
        )
    return stacked


def unstacking(shapes: Mapping[str, Shape]) -> dict[str, Unstacking]:
    """What makes each layer's parameter; parameters of no layer are left out.

    The shared bias is taken from the first layer: whether all agree is in the values.

    Args:
      shapes: of the parameters in the layout of ``scalable_t5``, by name.

    Raises:
      CheckpointError: a stack is not stacked, or a parameter lacks the layers' axis.
    """
    unstacked = {}
    for path, names in _stacks(shapes).items():
        module = path.rpartition("/")[2]
        prefix = f"{module}/"
        inner = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        if not inner:
            raise CheckpointError(
                f"The parameters hold no '{path}/{module}', so they are not those of a "
                "T5 with stacked layers; use them with scan_layers=False as they are."
            )
        bias = f"{path}/{module}/{_BIAS}"
        num_layers = _one_shape(shapes, [bias], rank=3)[PARAM_SCAN_AXIS]
        for name in inner:
            source = f"{path}/{module}/{name}"
            shape = shapes[source]
            if len(shape) < 2 or shape[PARAM_SCAN_AXIS] != num_layers:
                raise CheckpointError(
                    f"The parameter {source} has shape {shape}, and no axis "
                    f"{PARAM_SCAN_AXIS} of {num_layers} layers."
                )
            layer = shape[:PARAM_SCAN_AXIS] + shape[PARAM_SCAN_AXIS + 1 :]
            if name == _BIAS:
                unstacked[f"{path}/{_BIAS}"] = Unstacking(source, 0, layer)
                continue
            for i in range(num_layers):
                unstacked[f"{path}/layers_{i}/{name}"] = Unstacking(
                    source, i, _join_heads(source, layer)
                )
    return unstacked


def check_shared_bias(name: str, biases: Any) -> None:
    """Refuses ``[heads, layers, buckets]`` biases that no ``t5`` can hold.

    Raises:
      CheckpointError: layers have different biases.
    """
    biases = np.asarray(biases)
    if not (biases == biases[:, :1]).all():
        raise CheckpointError(
            f"The layers of '{name.removesuffix(f'/{_BIAS}')}' have different relative "
            "position biases (relpos_bias), as T5X's scalable_t5 learns them, and a T5 "
            "with one subtree a layer has only one for all; keep scan_layers=True."
        )


def shared_biases(parts: Mapping[str, Unstacking]) -> list[str]:
    """The stacked biases of which only the first layer's is kept."""
    return [part.source for part in parts.values() if part.source.endswith(_BIAS)]


def stack_layers(params: Params) -> dict[str, Any]:
    """Stacks the layers, for ``scan_layers=True``; the function computed is the same.

    The shared bias is copied to each layer; from there on training may part them.

    Args:
      params: a tree in the layout of T5X's ``t5``. What is in no stack of layers is
        passed through.

    Returns:
      The tree in the layout of ``scalable_t5``.

    Raises:
      CheckpointError: the tree has no layers of its own.
    """
    flat = flatten_dict(params, sep="/")
    plan = stacking({name: leaf.shape for name, leaf in flat.items()})
    used = {source for entry in plan.values() for source in entry.sources}
    stacked = {name: leaf for name, leaf in flat.items() if name not in used}
    for name, entry in plan.items():
        layers = [flat[source].reshape(entry.layer_shape) for source in entry.sources]
        # Arrays in memory stay there: a model to be converted need not fit a device.
        module = jax.numpy if isinstance(layers[0], jax.Array) else np
        stacked[name] = module.stack(layers, PARAM_SCAN_AXIS)
    return unflatten_dict(stacked, sep="/")


def unstack_layers(params: Params) -> dict[str, Any]:
    """Undoes :func:`stack_layers`, for ``scan_layers=False``.

    Args:
      params: a tree in the layout of T5X's ``scalable_t5``. What is in no stack of
        layers is passed through.

    Returns:
      The tree in the layout of ``t5``.

    Raises:
      CheckpointError: the tree is not stacked, or its layers have different biases.
    """
    flat = flatten_dict(params, sep="/")
    plan = unstacking({name: leaf.shape for name, leaf in flat.items()})
    for name in shared_biases(plan):
        check_shared_bias(name, flat[name])
    used = {entry.source for entry in plan.values()}
    unstacked = {name: leaf for name, leaf in flat.items() if name not in used}
    unstacked |= {name: entry.take(flat[entry.source]) for name, entry in plan.items()}
    return unflatten_dict(unstacked, sep="/")


def _stacks(names: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names within each stack of layers, by the stack's path."""
    found = collections.defaultdict(list)
    for match in filter(None, map(_STACK.fullmatch, names)):
        found[match[1]].append(match[3])
    return {path: found[path] for path in _PATHS if path in found}


def _one_shape(shapes: Mapping[str, Shape], names: Any, rank: int | None = None):
    """The shape that parameters share."""
    for name in names:
        if name not in shapes:
            raise CheckpointError(
                f"The parameters hold no '{name}', so they are not those of a T5."
            )
        shape = tuple(shapes[name])
        if shape != tuple(shapes[names[0]]) or rank not in (None, len(shape)):
            raise CheckpointError(
                f"The parameter {name} has shape {shape}, which is not that of a T5."
            )
    return shape


def _split_heads(name: str, shape: Shape, num_heads: int) -> Shape:
    match = _KERNEL.search(name)
    if match is None:
        return shape
    axis = 0 if match[1] == "out" else 1
    if len(shape) != 2 or shape[axis] % num_heads:
        raise CheckpointError(
            f"The attention kernel {name} has shape {shape}, of which axis {axis} "
            f"cannot be split into the {num_heads} heads of the relative biases."
        )
    heads = (num_heads, shape[axis] // num_heads)
    return (*shape[:axis], *heads, *shape[axis + 1 :])


def _join_heads(name: str, shape: Shape) -> Shape:
    match = _KERNEL.search(name)
    if match is None:
        return shape
    if len(shape) != 3:
        raise CheckpointError(
            f"The attention kernel {name} has a shape of {shape} a layer, which has no "
            "axis of heads."
        )
    axis = 0 if match[1] == "out" else 1
    return (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
