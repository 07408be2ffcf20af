"""Stored models for the tests of reading and writing them."""

import pathlib
import shutil

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dro_jax.interop.network_shape import config_from_shapes
from dro_jax.interop.stored_model import Leaf, StoredModel
from dro_jax.models.layer_stacking import stack_layers
from dro_jax.models.t5 import T5

T5X = pathlib.Path(__file__).parents[1] / "golden" / "t5x"
VERSIONS = ["t5_1_0", "t5_1_1"]
_TOKENS = ("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens")


def arrays_of(name):
    """The arrays of a golden npz file, by name."""
    with np.load(T5X / f"{name}.npz") as file:
        return dict(file.items())


def legacy_path(version):
    return T5X / f"{version}_legacy_checkpoint" / "checkpoint_0"


def leaf(array, name=""):
    return Leaf(array.shape, array.dtype, lambda: array, origin=name)


def leaves(arrays):
    return {name: leaf(array, name) for name, array in arrays.items()}


def stacked(arrays):
    """Arrays by name in the layout of scalable_t5."""
    return flatten_dict(stack_layers(unflatten_dict(arrays, sep="/")), sep="/")


def stored_model(policy, value=None, reference=None, step=7):
    """A model whose arrays are in memory."""
    return StoredModel(
        format="t5x",
        path="memory",
        config=config_from_shapes({name: x.shape for name, x in policy.items()}),
        policy=leaves(policy),
        value=leaves(value or {}),
        reference=leaves(reference or {}),
        step=step,
    )


def value_arrays(policy, seed=5):
    """A value network that starts from a policy: its trunk, and a scalar head."""
    rng = np.random.default_rng(seed)
    trunk = {n: x + 1 for n, x in policy.items() if "logits_dense" not in n}
    width = policy["token_embedder/embedding"].shape[1]
    return trunk | {"head/kernel": rng.normal(size=(width, 1)).astype(np.float32)}


def read(leaves):
    return {name: leaf.read() for name, leaf in leaves.items()}


def assert_same(found, expected):
    """Two mappings of arrays are equal to the bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def logits(stored, io):
    """What a stored policy computes of a golden file's tokens."""
    params = unflatten_dict(read(stored.policy), sep="/")
    tokens = [io[name] for name in _TOKENS]
    return jax.jit(T5(stored.config).apply)({"params": params}, *tokens)


def copied(source, tmp_path):
    """A copy of a checkpoint that a test may damage."""
    return pathlib.Path(shutil.copytree(source, tmp_path / pathlib.Path(source).name))
