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
