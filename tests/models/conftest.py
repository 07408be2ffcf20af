"""The golden networks of tests/golden/t5x (T5X, commit cc342d4), and a tiny one."""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from responses import TINY

from dro_jax.models.layer_stacking import stack_layers
from dro_jax.models.t5 import T5, T5Config

T5X = pathlib.Path(__file__).parents[1] / "golden" / "t5x"
SIZES = {
    "vocab_size": 384,
    "emb_dim": 32,
    "num_heads": 4,
    "head_dim": 8,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "mlp_dim": 64,
    "dropout_rate": 0.0,
}
VERSIONS = {
    "t5_1_0": {"mlp_activations": ("relu",), "logits_via_embedding": True},
    "t5_1_1": {"mlp_activations": ("gelu", "linear"), "logits_via_embedding": False},
}
_TOKENS = ("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens")
_SEGMENTS = ("encoder_segment_ids", "decoder_segment_ids")


@dataclasses.dataclass(frozen=True)
class Golden:
    config: T5Config
    params: dict[str, Any]
    io: dict[str, np.ndarray]
    logical_axes: dict[str, list[str]]
    scalable_parameters: dict[str, dict[str, list]]

    @property
    def inputs(self):
        return [self.io[name] for name in _TOKENS]

    @property
    def packed_inputs(self):
        return [self.io[f"packed_{name}"] for name in _TOKENS + _SEGMENTS]

    def build(self, **options):
        """The network and its parameters, in the layout the options ask for."""
        network = T5(dataclasses.replace(self.config, **options))
        stacked = network.config.scan_layers
        return network, stack_layers(self.params) if stacked else self.params


def load_golden(version):
    with np.load(T5X / f"{version}_params.npz") as params:
        tree = unflatten_dict(dict(params.items()), sep="/")
    with np.load(T5X / f"{version}_io.npz") as io:
        arrays = dict(io.items())
    axes = json.loads((T5X / f"{version}_logical_axes.json").read_text())
    scalable = json.loads((T5X / f"scalable_{version}_parameters.json").read_text())
    config = T5Config(**SIZES, **VERSIONS[version])
    return Golden(config, tree, arrays, axes, scalable)


@pytest.fixture(scope="session", params=sorted(VERSIONS))
def golden(request):
    return load_golden(request.param)


@pytest.fixture(scope="session")
def golden_1_1():
    return load_golden("t5_1_1")


@pytest.fixture(scope="session")
def tiny():
    network = T5(TINY)
    tokens = np.ones((1, 3), np.int32)
    variables = jax.jit(network.init)(jax.random.key(3), tokens, tokens, tokens)
    return network, variables["params"]
