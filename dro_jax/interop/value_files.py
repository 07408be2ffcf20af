"""The value estimate beside a Hugging Face model: `value/`, which transformers ignores.

`value/config.json` is a T5's, with the settings of `ValueConfig` under `dro_jax_value`;
`value/model.safetensors` holds the trunk under Hugging Face's names, so that
`T5EncoderModel.from_pretrained` reads it too, and the scalar head as `value_head.weight`.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import hugging_face_files as files
from dro_jax.interop import hugging_face_leaves as translation
from dro_jax.interop import hugging_face_output as output
from dro_jax.interop.hugging_face_names import (
    OUR_OUTPUT_LAYER,
    OUTPUT_LAYER,
    config_from_hugging_face,
    config_to_hugging_face,
    parameter_names,
)
from dro_jax.interop.network_shape import config_from_shapes, parameter_shapes
from dro_jax.interop.stored_model import Leaf, Leaves, StoredModel
from dro_jax.models.t5_config import T5Config

FOLDER = "value"
_SETTINGS = "dro_jax_value"
_HEAD = "head/kernel"
_THEIR_HEAD = "value_head.weight"


def read_value(
    folder: pathlib.Path, policy: T5Config
) -> tuple[Leaves, dict[str, Any], dict[str, str]]:
    """The value estimate that a model folder holds, if any.

    Args:
      folder: the model's.
      policy: the policy's network.

    Returns:
      The parameters, the settings as far as they are recorded, and the tensors that are
      not carried on, with the reason.

    Raises:
      CheckpointError: files are damaged or do not belong together.
    """
    inside = folder / FOLDER
    if not (inside / "config.json").exists():
        return {}, {}, {}
    content = files.read_json(inside / "config.json")
    settings = content.get(_SETTINGS)
    if not isinstance(settings, dict):
        return {}, {}, {
            f"{FOLDER}/": f"its config.json has no {_SETTINGS}: not a value estimate of "
            "dro_jax"
        }
    settings, trunk = dict(settings), policy
    # Without it there is no T5 of the value's own: a head on the policy, or nothing.
    if "model_type" in content:
        trunk = _trunk_config(inside, content)
        if _sizes(trunk) != _sizes(policy):
            settings["trunk"] = trunk
    if not (inside / files.WEIGHTS).exists() and not (inside / files.INDEX).exists():
        return {}, settings, {}
    tensors = files.stored_tensors(inside)
    names = {}
    if "model_type" in content:
        names = _wanted(tensors, trunk, own_biases=content["model_type"] == "umt5")
    leaves = dict(translation.leaves_of(tensors, names, trunk, str(inside)))
    if _THEIR_HEAD in tensors:
        leaves[_HEAD] = _head_leaf(tensors[_THEIR_HEAD])
    used = {part for parts in names.values() for part in parts} | {_THEIR_HEAD}
    ignored = {
        f"{FOLDER}/{name}": "no parameter of a value estimate"
        for name in tensors
        if name not in used
    }
    return leaves, settings, ignored


def _wanted(tensors, trunk: T5Config, *, own_biases: bool) -> translation.Names:
    """What a trunk has: a decoder or an output layer only if there is anything of it."""
    names = parameter_names(trunk, bias_in_each_layer=own_biases)
    if not any(name.startswith("decoder.") for name in tensors):
        names = {p: parts for p, parts in names.items() if "decoder" not in p}
    if OUTPUT_LAYER not in tensors:
        names.pop(OUR_OUTPUT_LAYER, None)
    return names


def _trunk_config(folder: pathlib.Path, content) -> T5Config:
    try:
        return config_from_hugging_face(content)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _sizes(config: T5Config) -> T5Config:
    """The configuration but for what does not matter to a trunk without logits."""
    return dataclasses.replace(config, logits_via_embedding=True, scan_layers=False)


def _head_leaf(tensor: files.StoredTensor) -> Leaf:
    return Leaf(
        tensor.form.shape[::-1],
        tensor.form.dtype,
        lambda: np.ascontiguousarray(tensor.read().T),
        origin=f"{FOLDER}/{tensor.origin}",
    )


def write_value(stored: StoredModel, folder: pathlib.Path) -> None:
    """Writes `value/`, where a model has a value estimate.

    Raises:
      CheckpointError: its parameters have no place in it.
    """
    if not stored.value and not stored.value_config:
        return
    inside = folder / FOLDER
    inside.mkdir()
    settings = {k: v for k, v in stored.value_config.items() if k != "trunk"}
    content: dict[str, Any] = {}
    forms, arrays = {}, []
    if trunk := trunk_leaves(stored.value):
        config = trunk_config(stored)
        own_biases = translation.biases_differ(trunk, config)
        content = config_to_hugging_face(
            config, model_type="umt5" if own_biases else "t5"
        )
        names = trunk_names(trunk, config, own_biases)
        forms |= translation.forms_of(trunk, names, config)
        arrays.append(translation.tensors_of(trunk, names, config))
    if _HEAD in stored.value:
        head = stored.value[_HEAD]
        forms[_THEIR_HEAD] = files.Form(tuple(head.shape[::-1]), np.dtype(head.dtype))
        arrays.append((name, head.read().T) for name in (_THEIR_HEAD,))
    if forms:
        output.write_tensors(
            inside, forms, (item for source in arrays for item in source)
        )
    output.write_json(inside / "config.json", content | {_SETTINGS: settings})


def trunk_leaves(value: Leaves) -> Leaves:
    """The parameters of a value estimate without its head's."""
    return {path: leaf for path, leaf in value.items() if path != _HEAD}


def trunk_names(trunk: Leaves, config: T5Config, own_biases: bool) -> translation.Names:
    """Hugging Face's names of those parameters that a trunk has."""
    names = parameter_names(config, bias_in_each_layer=own_biases)
    return {path: parts for path, parts in names.items() if path in trunk}


def trunk_config(stored: StoredModel) -> T5Config:
    """The network of a value estimate's trunk, in the layout of its parameters.

    Raises:
      CheckpointError: it is neither recorded, nor the policy's, nor a whole T5.
    """
    trunk = trunk_leaves(stored.value)
    scanned = any(path.startswith("encoder/encoder/") for path in trunk)
    recorded = stored.value_config.get("trunk")
    candidate = dataclasses.replace(recorded or stored.config, scan_layers=scanned)
    wanted = parameter_shapes(candidate)
    if all(wanted.get(path) == tuple(leaf.shape) for path, leaf in trunk.items()):
        return candidate
    return config_from_shapes(
        {path: tuple(leaf.shape) for path, leaf in trunk.items()},
        f"the value estimate of {stored.path}",
    )
