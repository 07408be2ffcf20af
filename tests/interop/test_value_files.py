"""Value estimates beside a policy in a folder of Hugging Face's."""

import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dro_jax.errors import CheckpointError
from dro_jax.interop.hugging_face import (
    open_hugging_face,
    write_hugging_face,
)
from dro_jax.interop.layouts import in_layout
from dro_jax.interop.stored_model import Leaf, StoredModel

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf" / "t5_v1_1"
QUERY = "decoder.block.1.layer.0.SelfAttention.q.weight"


def with_value(stored, value, **settings):
    fields = {f: getattr(stored, f) for f in ("format", "path", "config", "policy")}
    leaves = {
        name: Leaf(array.shape, array.dtype, lambda array=array: array, origin=name)
        for name, array in value.items()
    }
    return StoredModel(**fields, value=leaves, value_config=settings)


def trunk_arrays(stored, parts):
    return {
        name: leaf.read()
        for name, leaf in stored.policy.items()
        if name.startswith(parts) and "logits_dense" not in name
    }


HEAD = {"head/kernel": np.linspace(0, 1, 32, dtype=np.float32)[:, None]}
WHOLE = ("encoder", "decoder", "token_embedder")


@pytest.mark.parametrize("parts", [WHOLE, ("encoder", "token_embedder"), ()])
@pytest.mark.parametrize("scan_layers", [False, True])
def test_value_estimate(tmp_path, parts, scan_layers):
    stored = in_layout(open_hugging_face(str(GOLDEN)), scan_layers)
    value = HEAD | (trunk_arrays(stored, parts) if parts else {})
    settings = {
        "network": "separate" if parts else "shared_head",
        "granularity": "token",
    }
    write_hugging_face(with_value(stored, value, **settings), str(tmp_path))
    read = open_hugging_face(str(tmp_path))
    assert read.value_config == settings and not read.ignored
    leaves = in_layout(read, scan_layers).value
    assert leaves.keys() == value.keys()
    for name, array in value.items():
        np.testing.assert_array_equal(leaves[name].read(), array, err_msg=name)


def test_value_trunk_of_other_sizes(tmp_path):
    small = open_hugging_face(str(GOLDEN.parent / "t5_v1_0"))
    value = HEAD | trunk_arrays(small, WHOLE)
    stored = with_value(open_hugging_face(str(GOLDEN)), value, network="separate")
    write_hugging_face(stored, str(tmp_path))
    trunk = open_hugging_face(str(tmp_path)).value_config["trunk"]
    assert trunk.mlp_activations == ("relu",)


def test_values_from_the_logits_have_settings_alone(tmp_path):
    stored = with_value(open_hugging_face(str(GOLDEN)), {}, network="policy_logits")
    write_hugging_face(stored, str(tmp_path))
    read = open_hugging_face(str(tmp_path))
    assert read.value_config == {"network": "policy_logits"} and not read.value


def test_damaged_value(tmp_path):
    stored = open_hugging_face(str(GOLDEN))
    value = HEAD | trunk_arrays(stored, WHOLE)
    write_hugging_face(with_value(stored, value, network="separate"), str(tmp_path))
    path = tmp_path / "value" / "model.safetensors"
    tensors = load_file(path)
    del tensors[QUERY]
    save_file(tensors | {"other": np.zeros(1, np.float32)}, path)
    with pytest.raises(CheckpointError, match=f"value has no tensor '{QUERY}'"):
        open_hugging_face(str(tmp_path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        CheckpointError, match=r"value/model\.safetensors is no complete"
    ):
        open_hugging_face(str(tmp_path))
