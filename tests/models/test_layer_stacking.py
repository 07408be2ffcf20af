"""Converting between one subtree a layer and stacked layers."""

import jax
import numpy as np
import pytest

from dro_jax.errors import CheckpointError
from dro_jax.models.layer_stacking import stack_layers, unstack_layers


def test_shapes_are_those_of_scalable_t5(golden):
    from flax.traverse_util import flatten_dict

    stacked = flatten_dict(stack_layers(golden.params), sep="/")
    found = {name: list(array.shape) for name, array in stacked.items()}
    expected = {
        name: entry["shape"] for name, entry in golden.scalable_parameters.items()
    }
    assert found == expected


def test_unstacking_undoes_stacking(golden):
    params = golden.params | {"value": {"kernel": np.arange(3.0)}}
    restored = unstack_layers(stack_layers(params))
    assert jax.tree.structure(restored) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, restored, params)


def test_a_values_trunk_is_stacked_by_its_own_number_of_heads(golden_1_1):
    value = jax.tree.map(lambda x: x + 1, golden_1_1.params)
    for stack in ("encoder", "decoder"):
        bias = value[stack]["relpos_bias"]["rel_embedding"]
        value[stack]["relpos_bias"]["rel_embedding"] = bias[:2]
    stacked = stack_layers(golden_1_1.params | {"value": value})
    kernel = stacked["value"]["decoder"]["decoder"]["self_attention"]["query"]["kernel"]
    assert kernel.shape == (32, 2, 2, 16)
    jax.tree.map(np.testing.assert_array_equal, unstack_layers(stacked)["value"], value)


def test_layers_must_be_complete_and_alike(golden_1_1):
    params = jax.tree.map(np.asarray, golden_1_1.params)
    wo = params["encoder"]["layers_1"]["mlp"].pop("wo")
    with pytest.raises(CheckpointError, match="no 'encoder/layers_1/mlp/wo/kernel'"):
        stack_layers(params)
    params["encoder"]["layers_1"]["mlp"]["wo"] = {"kernel": wo["kernel"][1:]}
    with pytest.raises(CheckpointError, match=r"layers_1/mlp/wo/kernel has shape \(63"):
        stack_layers(params)
    params = stack_layers(golden_1_1.params)
    params["encoder"]["encoder"]["mlp"]["wo"]["kernel"] = np.ones((64, 3, 32))
    with pytest.raises(CheckpointError, match="no axis 1 of 2 layers"):
        unstack_layers(params)


def test_different_biases_cannot_be_unstacked(golden_1_1):
    stacked = stack_layers(golden_1_1.params)
    stacked["decoder"]["decoder"]["relpos_bias"]["rel_embedding"][0, 1, 0] += 1.0
    with pytest.raises(CheckpointError, match="different relative position biases"):
        unstack_layers(stacked)


def test_each_layout_is_told_from_the_other(golden_1_1):
    with pytest.raises(CheckpointError, match="no 'encoder/encoder'"):
        unstack_layers(golden_1_1.params)
    with pytest.raises(CheckpointError, match="no 'encoder/layers_0'"):
        stack_layers(stack_layers(golden_1_1.params))
