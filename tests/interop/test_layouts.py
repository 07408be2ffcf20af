"""Stored layers, stacked and unstacked as they are read."""

import dataclasses

import numpy as np
import pytest
import stored

from dro_jax.errors import CheckpointError
from dro_jax.interop.layouts import in_layout, with_layers
from dro_jax.interop.network_shape import config_from_shapes, parameter_shapes

TOLERANCE = 1e-5
BIAS = "decoder/decoder/relpos_bias/rel_embedding"


@pytest.fixture(params=stored.VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def arrays():
    return stored.arrays_of("t5_1_1_params")


def shapes_of(arrays):
    return {name: array.shape for name, array in arrays.items()}


def test_leaves_are_converted_as_trees_are(version):
    arrays = stored.arrays_of(f"{version}_params")
    found = with_layers(stored.leaves(arrays), True)
    stored.assert_same(stored.read(found), stored.stacked(arrays))
    stored.assert_same(stored.read(with_layers(found, False)), arrays)
    for leaf in found.values():
        assert leaf.shape == leaf.read().shape


def test_both_layouts_compute_the_same(version):
    io = stored.arrays_of(f"{version}_io")
    model = stored.stored_model(stored.arrays_of(f"{version}_params"))
    scanned = in_layout(model, True)
    assert scanned.config.scan_layers
    back = in_layout(scanned, False)
    for converted in (scanned, back):
        found = stored.logits(converted, io)
        np.testing.assert_allclose(found, io["logits"], atol=TOLERANCE)


def test_value_and_reference_are_converted_too(arrays):
    value = stored.value_arrays(arrays)
    model = stored.stored_model(arrays, value, reference=arrays)
    scanned = in_layout(model, True)
    head = {"head/kernel": value.pop("head/kernel")}
    stored.assert_same(stored.read(scanned.value), stored.stacked(value) | head)
    stored.assert_same(stored.read(scanned.reference), stored.stacked(arrays))


def test_a_head_alone_has_no_layers(arrays):
    head = stored.leaves({"head/kernel": np.ones((4, 1), np.float32)})
    assert with_layers(head, True) is head


def test_a_stacked_array_is_read_once_for_all_its_layers(arrays):
    reads = []

    def counted(name, leaf):
        def read():
            reads.append(name)
            return leaf.read()

        return dataclasses.replace(leaf, read=read)

    scanned = stored.leaves(stored.stacked(arrays))
    leaves = {name: counted(name, leaf) for name, leaf in scanned.items()}
    unscanned = with_layers(leaves, False)
    biases = reads.copy()
    assert all(name.endswith("rel_embedding") for name in biases)
    reads.clear()
    stored.read(unscanned)
    assert sorted(reads) == sorted(leaves)


def test_different_biases_are_refused(arrays):
    scanned = {name: array.copy() for name, array in stored.stacked(arrays).items()}
    scanned[BIAS][0, 1, 0] += 1
    message = "'decoder/decoder' have different relative position biases"
    with pytest.raises(CheckpointError, match=message):
        in_layout(stored.stored_model(scanned), False)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_the_network_is_told_from_shapes(version, scan_layers):
    arrays = stored.arrays_of(f"{version}_params")
    config = config_from_shapes(
        shapes_of(stored.stacked(arrays) if scan_layers else arrays)
    )
    sizes = {
        "vocab_size": 384,
        "emb_dim": 32,
        "num_heads": 4,
        "head_dim": 8,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "mlp_dim": 64,
        "scan_layers": scan_layers,
        "logits_via_embedding": version == "t5_1_0",
        "mlp_activations": ("relu",) if version == "t5_1_0" else ("gelu", "linear"),
    }
    assert {name: getattr(config, name) for name in sizes} == sizes


def test_stacks_may_differ_in_depth(arrays):
    config = dataclasses.replace(
        config_from_shapes(shapes_of(arrays)),
        num_encoder_layers=3,
        num_decoder_layers=1,
    )
    for scan_layers in (False, True):
        wanted = dataclasses.replace(config, scan_layers=scan_layers)
        assert config_from_shapes(parameter_shapes(wanted)) == wanted


NO_T5 = [
    ("token_embedder/embedding", None, "missing token_embedder/embedding"),
    ("token_embedder/embedding", (), "token_embedder/embedding has shape"),
    ("encoder/layers_1/mlp/wo/kernel", None, "missing encoder/layers_1/mlp/wo"),
    ("lora/kernel", (3, 4), "unexpected lora/kernel"),
    (
        "decoder/layers_1/mlp/wo/kernel",
        (63, 32),
        r"decoder/layers_1/mlp/wo/kernel has shape \(63, 32\), a T5 .* \(64, 32\)",
    ),
    ("encoder/relpos_bias/rel_embedding", (5,), "rel_embedding has shape"),
    ("encoder/layers_99999999999/mlp/wi/kernel", (1,), "missing encoder/layers_2/"),
]


@pytest.mark.parametrize(
    ("name", "shape", "message", "scanned"),
    [(*case, False) for case in NO_T5]
    + [(*case, True) for case in NO_T5 if "layers_" not in case[0]],
)
def test_what_is_no_t5_is_named(arrays, name, shape, message, scanned):
    shapes = shapes_of(stored.stacked(arrays) if scanned else arrays)
    if scanned and "relpos_bias" in name:
        name = "encoder/encoder/relpos_bias/rel_embedding"
    if shape is None:
        del shapes[name]
    else:
        shapes[name] = shape
    with pytest.raises(CheckpointError, match=message) as caught:
        config_from_shapes(shapes, "the policy in FOLDER")
    assert "the policy in FOLDER does not look like a T5" in str(caught.value)
