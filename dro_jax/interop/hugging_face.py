"""Hugging Face's T5 weights and configuration, to and from ours.

Covers T5 1.0, T5 1.1, byT5, mT5 and models fine-tuned from them. A pure mapping of
names and shapes; files are read with safetensors, without torch or transformers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop.hugging_face_names import (
    NUM_BUCKETS,
    is_transposed,
    parameter_names,
    parameter_shape,
)
from dro_jax.models.layer_stacking import stack_layers, unstack_layers
from dro_jax.models.t5 import T5Config

Params = Mapping[str, Any]

_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "emb_dim",
    "num_heads": "num_heads",
    "num_layers": "num_encoder_layers",
    "num_decoder_layers": "num_decoder_layers",
    "d_kv": "head_dim",
    "d_ff": "mlp_dim",
}
_ACTIVATIONS = {
    "relu": ("relu",),
    "silu": ("silu",),
    "gated-gelu": ("gelu", "linear"),
    "gated-relu": ("relu", "linear"),
    "gated-silu": ("silu", "linear"),
}
# Settings that our network has no choice in, with the value it computes.
_FIXED = {
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": NUM_BUCKETS,
    "relative_attention_max_distance": 128,
}


def config_from_hugging_face(config: Mapping[str, Any], **overrides: Any) -> T5Config:
    """Translates the contents of a ``config.json``.

    ``tie_word_embeddings`` (true when absent) also tells the versions apart: tied
    models scale the decoder's output, as ``logits_via_embedding`` does.

    Args:
      config: the JSON object.
      **overrides: fields of T5Config to set otherwise, such as ``dtype``.

    Returns:
      The network's configuration.

    Raises:
      ConfigError: the model is not a T5, or one that our network cannot compute.
    """
    if config.get("model_type") not in ("t5", "mt5"):
        raise ConfigError(
            f"config.json has model_type {config.get('model_type')!r}; only 't5' and "
            "'mt5' models can be read."
        )
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise ConfigError(
                f"config.json has {name} = {config[name]}; T5X's network, and ours, "
                f"has {value}."
            )
    tied = config.get("tie_word_embeddings", True)
    if config.get("scale_decoder_outputs", tied) != tied:
        raise ConfigError(
            "config.json has scale_decoder_outputs different from "
            "tie_word_embeddings; T5X's network scales exactly when it ties."
        )
    activation = config.get("feed_forward_proj", "relu")
    if activation not in _ACTIVATIONS:
        raise ConfigError(
            f"config.json has feed_forward_proj {activation!r}; known are "
            f"{', '.join(_ACTIVATIONS)}."
        )
    defaulted = {"num_decoder_layers": config.get("num_layers")} | dict(config)
    missing = [name for name in _SIZES if defaulted.get(name) is None]
    if missing:
        raise ConfigError(f"config.json lacks {', '.join(missing)}.")
    fields = {ours: defaulted[theirs] for theirs, ours in _SIZES.items()}
    fields |= {
        "mlp_activations": _ACTIVATIONS[activation],
        "logits_via_embedding": tied,
        "dropout_rate": config.get("dropout_rate", 0.1),
    }
    return T5Config(**(fields | overrides))


def config_to_hugging_face(config: T5Config) -> dict[str, Any]:
    """The ``config.json`` with which transformers computes the same function.

    Raises:
      ConfigError: transformers has no name for the activations.
    """
    names = {activations: name for name, activations in _ACTIVATIONS.items()}
    if config.mlp_activations not in names:
        raise ConfigError(
            f"T5Config.mlp_activations is {config.mlp_activations}, which "
            f"transformers has no T5 for; it has {tuple(names)}."
        )
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "dropout_rate": config.dropout_rate,
        "feed_forward_proj": names[config.mlp_activations],
        "tie_word_embeddings": config.logits_via_embedding,
        **_FIXED,
        **{theirs: getattr(config, ours) for theirs, ours in _SIZES.items()},
    }


def params_from_hugging_face(
    state: Mapping[str, np.ndarray], config: T5Config
) -> dict[str, Any]:
    """Translates a state dict of ``T5ForConditionalGeneration``.

    Args:
      state: arrays by name.
      config: the network they are for.

    Returns:
      The float32 parameters, stacked if ``config.scan_layers``.

    Raises:
      CheckpointError: a parameter is missing or has another shape, or a tied model
        comes with an output layer of its own.
    """
    state = dict(state)
    embedding = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    if embedding is not None:
        state["shared.weight"] = embedding
        # A model whose output layer equals its embedding is saved without it, even
        # if it is a 1.1 model, which does not scale its decoder's output.
        head = state.setdefault("lm_head.weight", embedding)
        if config.logits_via_embedding and not np.array_equal(head, embedding):
            raise CheckpointError(
                "The Hugging Face model ties its embeddings (tie_word_embeddings) "
                "but its lm_head.weight differs from shared.weight; if it is a "
                "T5 1.1, set tie_word_embeddings to false in its config.json."
            )
    flat = {}
    for path, name in parameter_names(config).items():
        if name not in state:
            raise CheckpointError(
                f"The Hugging Face model has no parameter {name!r}; its weights and "
                "its config.json do not describe the same T5."
            )
        array = np.asarray(state[name]).astype(np.float32)
        array = array.T if is_transposed(path) else array
        if array.shape != parameter_shape(path, config):
            raise CheckpointError(
                f"The Hugging Face parameter {name!r} becomes an array of shape "
                f"{array.shape}, but the network has {parameter_shape(path, config)} "
                f"at {path}."
            )
        flat[path] = np.ascontiguousarray(array)
    params = unflatten_dict(flat, sep="/")
    return stack_layers(params) if config.scan_layers else params


def params_to_hugging_face(params: Params, config: T5Config) -> dict[str, np.ndarray]:
    """Translates a policy's parameters to a state dict; other subtrees are left out.

    Raises:
      CheckpointError: a parameter is missing, or stacked layers have different
        relative position biases.
    """
    if config.scan_layers:
        params = unstack_layers(params)
    flat = flatten_dict(params, sep="/")
    state = {}
    for path, name in parameter_names(config).items():
        if path not in flat:
            raise CheckpointError(
                f"The parameters have no {path}; they are not those of the T5Config."
            )
        array = np.asarray(flat[path]).astype(np.float32)
        state[name] = np.ascontiguousarray(array.T if is_transposed(path) else array)
    return state


def _read_state(folder: Path) -> dict[str, np.ndarray]:
    # Imported here: no other use of the network needs the package.
    from safetensors.numpy import load_file

    index = folder / "model.safetensors.index.json"
    files = ["model.safetensors"]
    if index.exists():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(weight_map.values()))
    state = {}
    for name in files:
        if not (folder / name).exists():
            raise CheckpointError(
                f"{folder} holds no {name}; save the model with save_pretrained, "
                "which writes safetensors."
            )
        state |= load_file(folder / name)
    return state


def load_hugging_face(
    folder: str | Path, **overrides: Any
) -> tuple[T5Config, dict[str, Any]]:
    """Reads a folder written by ``save_pretrained``.

    Args:
      folder: holds ``config.json`` and ``model.safetensors`` (or its shards).
      **overrides: fields of T5Config to set otherwise, such as ``dtype``.

    Returns:
      The network's configuration and its parameters.

    Raises:
      CheckpointError: files or parameters are missing or do not fit.
      ConfigError: as :func:`config_from_hugging_face`.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(f"{folder} holds no config.json of a Hugging Face model.")
    config = config_from_hugging_face(
        json.loads(path.read_text(encoding="utf-8")), **overrides
    )
    return config, params_from_hugging_face(_read_state(folder), config)
