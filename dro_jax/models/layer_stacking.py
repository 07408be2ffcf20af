"""Converts parameters between T5X's two layouts: a subtree a layer, or layers stacked.

``t5`` (``scan_layers=False``) keeps ``layers_0``, ``layers_1``, … with attention
kernels as matrices and one relative position bias a stack. ``scalable_t5``
(``scan_layers=True``) keeps one subtree named as its stack, every parameter with the
layers as axis 1, attention kernels with heads as an axis, and a bias in each layer.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS

Params = Mapping[str, Any]

_STACKS = ("encoder", "decoder")
_ATTENTIONS = ("attention", "self_attention", "encoder_decoder_attention")


def _map_attention_kernels(layer, reshape):
    converted = dict(layer)
    for attention in _ATTENTIONS:
        if attention in layer:
            converted[attention] = {
                name: {"kernel": reshape(name, projection["kernel"])}
                for name, projection in layer[attention].items()
            }
    return converted


def _split_heads(layer, num_heads):
    def reshape(name, kernel):
        joined = kernel.shape[0] if name == "out" else kernel.shape[1]
        heads = (num_heads, joined // num_heads)
        outer = kernel.shape[1] if name == "out" else kernel.shape[0]
        return kernel.reshape((*heads, outer) if name == "out" else (outer, *heads))

    return _map_attention_kernels(layer, reshape)


def _join_heads(layer):
    def reshape(name, kernel):
        if name == "out":
            return kernel.reshape(-1, kernel.shape[-1])
        return kernel.reshape(kernel.shape[0], -1)

    return _map_attention_kernels(layer, reshape)


def _array_module(leaf):
    return jax.numpy if isinstance(leaf, jax.Array) else np


def _stack(name, stack):
    layer_names = [key for key in stack if key.startswith("layers_")]
    if not layer_names:
        raise CheckpointError(
            f"The parameters hold no '{name}/layers_0', so they are not those of a T5 "
            "with one subtree a layer; if they are stacked already, use them with "
            "scan_layers=True as they are."
        )
    num_heads = stack["relpos_bias"]["rel_embedding"].shape[0]
    per_layer = []
    for i in range(len(layer_names)):
        layer = _split_heads(stack[f"layers_{i}"], num_heads)
        per_layer.append(layer | {"relpos_bias": stack["relpos_bias"]})
    kept = {
        key: value
        for key, value in stack.items()
        if key not in layer_names and key != "relpos_bias"
    }
    stacked = jax.tree.map(
        lambda *leaves: _array_module(leaves[0]).stack(leaves, PARAM_SCAN_AXIS),
        *per_layer,
    )
    return kept | {name: stacked}


def _unstack(name, stack):
    if name not in stack:
        raise CheckpointError(
            f"The parameters hold no '{name}/{name}', so they are not those of a T5 "
            "with stacked layers; use them with scan_layers=False as they are."
        )
    layers = dict(stack[name])
    biases = layers.pop("relpos_bias")["rel_embedding"]
    bias = biases[:, 0]
    if not (np.asarray(biases) == np.asarray(bias)[:, None]).all():
        raise CheckpointError(
            f"The layers of '{name}/{name}' have different relative position biases "
            "(relpos_bias), as T5X's scalable_t5 learns them, and a T5 with one "
            "subtree a layer has only one for all; keep scan_layers=True."
        )
    num_layers = biases.shape[PARAM_SCAN_AXIS]
    converted = {key: value for key, value in stack.items() if key != name}
    converted["relpos_bias"] = {"rel_embedding": bias}
    for i in range(num_layers):
        layer = jax.tree.map(lambda leaf, i=i: leaf[:, i], layers)
        converted[f"layers_{i}"] = _join_heads(layer)
    return converted


def stack_layers(params: Params) -> dict[str, Any]:
    """Stacks the layers, for ``scan_layers=True``; the function computed is the same.

    The shared bias is copied to each layer; from there on training may part them.

    Args:
      params: a tree in the layout of T5X's ``t5``. Entries beside ``encoder`` and
        ``decoder`` are passed through.

    Returns:
      The tree in the layout of ``scalable_t5``.

    Raises:
      CheckpointError: the tree has no layers of its own.
    """
    return dict(params) | {name: _stack(name, params[name]) for name in _STACKS}


def unstack_layers(params: Params) -> dict[str, Any]:
    """Undoes :func:`stack_layers`, for ``scan_layers=False``.

    Args:
      params: a tree in the layout of T5X's ``scalable_t5``. Entries beside
        ``encoder`` and ``decoder`` are passed through.

    Returns:
      The tree in the layout of ``t5``.

    Raises:
      CheckpointError: the tree is not stacked, or its layers have different biases.
    """
    return dict(params) | {name: _unstack(name, params[name]) for name in _STACKS}
