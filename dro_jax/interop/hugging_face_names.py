"""What Hugging Face calls T5's parameters and settings, and what we call them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.models.t5_config import T5Config
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS

NUM_BUCKETS = 32
EMBEDDING = "shared.weight"
OUTPUT_LAYER = "lm_head.weight"
OUR_EMBEDDING = "token_embedder/embedding"
OUR_OUTPUT_LAYER = "decoder/logits_dense/kernel"
STACKS = ("encoder", "decoder")

_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
# Our attention, the norm before it, and the Hugging Face module, in order of sublayer.
_ATTENTIONS = {
    "encoder": [("attention", "pre_attention_layer_norm", "SelfAttention")],
    "decoder": [
        ("self_attention", "pre_self_attention_layer_norm", "SelfAttention"),
        (
            "encoder_decoder_attention",
            "pre_cross_attention_layer_norm",
            "EncDecAttention",
        ),
    ],
}
_RELATIVE_BIAS = "layer.0.SelfAttention.relative_attention_bias.weight"
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
# What a config.json that does not say so means, by model_type.
_DEFAULT_ACTIVATION = {"t5": "relu", "mt5": "gated-gelu", "umt5": "gated-gelu"}
_DEFAULT_TIE = {"t5": True, "mt5": False, "umt5": False}
_CLASSES = {
    "t5": "T5ForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "umt5": "UMT5ForConditionalGeneration",
}
# Settings that our network has no choice in, with the value it computes.
_FIXED = {
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": NUM_BUCKETS,
    "relative_attention_max_distance": 128,
}


def config_from_hugging_face(config: Mapping[str, Any], **overrides: Any) -> T5Config:
    """Translates the contents of a ``config.json``.

    Args:
      config: the JSON object.
      **overrides: fields of T5Config to set otherwise, such as ``dtype``.

    Returns:
      The network's configuration; that of an umT5 has ``scan_layers``, since only that
      layout has a relative position bias in each layer.

    Raises:
      ConfigError: the model is not a T5, or one that our network cannot compute.
    """
    model_type = config.get("model_type")
    if model_type not in _CLASSES:
        raise ConfigError(
            f"config.json has model_type {model_type!r}; only 't5', 'mt5' and 'umt5' "
            "models can be read."
        )
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise ConfigError(
                f"config.json has {name} = {config[name]}; T5X's network, and ours, "
                f"has {value}."
            )
    activation = config.get("feed_forward_proj", _DEFAULT_ACTIVATION[model_type])
    if activation not in _ACTIVATIONS:
        raise ConfigError(
            f"config.json has feed_forward_proj {activation!r}; known are "
            f"{', '.join(_ACTIVATIONS)}."
        )
    defaulted = {"num_decoder_layers": config.get("num_layers")} | dict(config)
    if defaulted["num_decoder_layers"] is None:
        defaulted["num_decoder_layers"] = config.get("num_layers")
    wrong = [name for name in _SIZES if type(defaulted.get(name)) is not int]
    if wrong:
        raise ConfigError(f"config.json lacks {', '.join(wrong)}, or not as a number.")
    fields = {ours: defaulted[theirs] for theirs, ours in _SIZES.items()}
    fields |= {
        "mlp_activations": _ACTIVATIONS[activation],
        "logits_via_embedding": _scales_decoder_output(config),
        "dropout_rate": config.get("dropout_rate", 0.1),
        "scan_layers": model_type == "umt5",
    }
    return T5Config(**(fields | overrides))


def _scales_decoder_output(config: Mapping[str, Any]) -> bool:
    """Whether the model is as T5 1.0: embedding tied, decoder's output scaled.

    transformers 5 writes ``tie_word_embeddings: true`` for every model that it saves;
    what it computes is in ``scale_decoder_outputs`` for a T5, and is never scaled for
    an mT5.
    """
    model_type = config["model_type"]
    tied = config.get("tie_word_embeddings", _DEFAULT_TIE[model_type])
    if model_type == "mt5":
        version = str(config.get("transformers_version", ""))
        return tied and version.split(".")[0] in ("", "2", "3", "4")
    scaled = config.get("scale_decoder_outputs", tied)
    if scaled and not tied:
        raise ConfigError(
            "config.json has scale_decoder_outputs = true but tie_word_embeddings = "
            "false; T5X's network, and ours, scales exactly when it ties."
        )
    return scaled


def config_to_hugging_face(
    config: T5Config, *, model_type: str = "t5"
) -> dict[str, Any]:
    """The ``config.json`` with which transformers computes the same function.

    Args:
      config: the network.
      model_type: `t5`, `mt5` or `umt5`.

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
        "architectures": [_CLASSES[model_type]],
        "model_type": model_type,
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


def _layer_names(stack: str, mlp: list[str]) -> Iterator[tuple[str, str]]:
    """Paths within one of our layers and names within one of theirs."""
    attentions = _ATTENTIONS[stack]
    for i, (attention, norm, module) in enumerate(attentions):
        yield f"{norm}/scale", f"layer.{i}.layer_norm.weight"
        for ours, theirs in _PROJECTIONS.items():
            yield f"{attention}/{ours}/kernel", f"layer.{i}.{module}.{theirs}.weight"
    last = len(attentions)
    yield "pre_mlp_layer_norm/scale", f"layer.{last}.layer_norm.weight"
    for dense in mlp:
        yield f"mlp/{dense}/kernel", f"layer.{last}.DenseReluDense.{dense}.weight"


def parameter_names(
    config: T5Config, *, bias_in_each_layer: bool = False
) -> dict[str, tuple[str, ...]]:
    """Maps the path of each parameter to Hugging Face's name, or names.

    Args:
      config: the network, in either layout.
      bias_in_each_layer: as umT5; otherwise the first layer's bias is all layers'.

    Returns:
      One name a parameter, or, of stacked layers, one for each layer.
    """
    names = {OUR_EMBEDDING: (EMBEDDING,)}
    if not config.logits_via_embedding:
        names[OUR_OUTPUT_LAYER] = (OUTPUT_LAYER,)
    branches = len(config.mlp_activations)
    mlp = ["wi"] if branches == 1 else [f"wi_{i}" for i in range(branches)]
    sizes = dict(
        zip(STACKS, (config.num_encoder_layers, config.num_decoder_layers), strict=True)
    )
    for stack, size in sizes.items():
        names[f"{stack}/{stack}_norm/scale"] = (f"{stack}.final_layer_norm.weight",)
        biases = tuple(
            f"{stack}.block.{i * bias_in_each_layer}.{_RELATIVE_BIAS}"
            for i in range(size)
        )
        inside = f"{stack}/{stack}" if config.scan_layers else stack
        names[f"{inside}/relpos_bias/rel_embedding"] = (
            biases if config.scan_layers else biases[:1]
        )
        for ours, theirs in _layer_names(stack, [*mlp, "wo"]):
            of_layers = tuple(f"{stack}.block.{i}.{theirs}" for i in range(size))
            if config.scan_layers:
                names[f"{inside}/{ours}"] = of_layers
            else:
                for i, name in enumerate(of_layers):
                    names[f"{stack}/layers_{i}/{ours}"] = (name,)
    return names


def is_transposed(path: str) -> bool:
    """Whether Hugging Face stores the parameter with its axes swapped.

    torch keeps a linear map as ``[out, in]``, and T5's biases as ``[buckets, heads]``.
    """
    return path.endswith(("/kernel", "/rel_embedding"))


def stored_shape(path: str, config: T5Config) -> tuple[int, ...]:
    """The shape in which Hugging Face stores a parameter, or each layer's part of it."""
    joined = config.num_heads * config.head_dim
    module = path.split("/")[-2]
    if path.endswith("/scale"):
        return (config.emb_dim,)
    if module.startswith("wi"):
        return (config.mlp_dim, config.emb_dim)
    return {
        "token_embedder": (config.vocab_size, config.emb_dim),
        "logits_dense": (config.vocab_size, config.emb_dim),
        "relpos_bias": (NUM_BUCKETS, config.num_heads),
        "out": (config.emb_dim, joined),
        "wo": (config.emb_dim, config.mlp_dim),
    }.get(module, (joined, config.emb_dim))


def layer_shape(path: str, config: T5Config) -> tuple[int, ...]:
    """The shape of a parameter in our layout; of stacked layers, of one layer's part."""
    shape = stored_shape(path, config)
    shape = shape[::-1] if is_transposed(path) else shape
    if _has_heads_as_axis(path, config):
        heads = (config.num_heads, config.head_dim)
        return (*heads, shape[1]) if "/out/" in path else (shape[0], *heads)
    return shape


def parameter_shape(
    path: str, names: Sequence[str], config: T5Config
) -> tuple[int, ...]:
    """The shape of a parameter in our layout.

    Args:
      path: one of :func:`parameter_names`.
      names: what it is mapped to there.
      config: the network.
    """
    shape = layer_shape(path, config)
    if not is_stacked(path, config):
        return shape
    return (*shape[:PARAM_SCAN_AXIS], len(names), *shape[PARAM_SCAN_AXIS:])


def is_stacked(path: str, config: T5Config) -> bool:
    """Whether the parameter holds all layers' parts, along `PARAM_SCAN_AXIS`."""
    stack, *inside = path.split("/")
    return config.scan_layers and inside[0] == stack


def to_ours(array: np.ndarray, path: str, config: T5Config) -> np.ndarray:
    """A parameter, or one layer's part of it, from Hugging Face's arrangement."""
    array = array.T if is_transposed(path) else array
    return array.reshape(layer_shape(path, config))


def to_theirs(array: np.ndarray, path: str, config: T5Config) -> np.ndarray:
    """Undoes :func:`to_ours`."""
    shape = stored_shape(path, config)
    if is_transposed(path):
        return np.ascontiguousarray(array.reshape(shape[::-1]).T)
    return np.ascontiguousarray(array.reshape(shape))


def _has_heads_as_axis(path: str, config: T5Config) -> bool:
    return (
        config.scan_layers
        and path.endswith("/kernel")
        and path.split("/")[-2] in _PROJECTIONS
    )
