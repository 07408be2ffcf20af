"""Agreement with T5X: logits, log-probabilities, parameter trees, logical axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen import partitioning
from flax.traverse_util import flatten_dict

TOLERANCE = 1e-5
LAYOUTS = [
    {},
    {"scan_layers": True},
    {"remat_policy": "minimal"},
    {"remat_policy": "full", "scan_layers": True},
]


def named(tree):
    return flatten_dict(tree, sep="/")


def shapes_and_axes(network, inputs):
    variables = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    axes = partitioning.get_axis_names(variables["params_axes"])
    return named(variables["params"]), named(axes.unfreeze())


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_logits(golden, layout):
    network, params = golden.build(**layout)
    logits = jax.jit(network.apply)({"params": params}, *golden.inputs)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, golden.io["logits"], atol=TOLERANCE)


@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=str)
def test_packed_logits(golden, layout):
    network, params = golden.build(**layout)
    logits = jax.jit(network.apply)({"params": params}, *golden.packed_inputs)
    np.testing.assert_allclose(logits, golden.io["packed_logits"], atol=TOLERANCE)


def test_packed_positions_are_accepted(golden):
    network, params = golden.build()
    positions = [
        golden.io[f"packed_{side}_positions"] for side in ("encoder", "decoder")
    ]
    logits = jax.jit(network.apply)(
        {"params": params}, *golden.packed_inputs, *positions
    )
    np.testing.assert_allclose(logits, golden.io["packed_logits"], atol=TOLERANCE)


def test_log_probabilities(golden):
    network, params = golden.build()
    logits = jax.jit(network.apply)({"params": params}, *golden.inputs)
    targets = golden.io["decoder_target_tokens"]
    logprobs = np.take_along_axis(
        np.asarray(jax.nn.log_softmax(logits)), targets[..., None], axis=-1
    )[..., 0]
    expected = golden.io["target_token_logprobs"]
    real = targets > 0
    np.testing.assert_allclose(logprobs[real], expected[real], atol=TOLERANCE)
    sums = np.sum(logprobs * real, axis=1)
    np.testing.assert_allclose(sums, golden.io["score_batch"], atol=1e-4)
    np.testing.assert_allclose(
        -sums.sum(), golden.io["cross_entropy_loss_sum"], rtol=1e-6
    )


def test_parameter_tree_and_axes(golden):
    network, params = golden.build()
    initialized, axes = shapes_and_axes(network, golden.inputs)
    expected = {name: array.shape for name, array in named(params).items()}
    assert {name: array.shape for name, array in initialized.items()} == expected
    assert {name: list(spec) for name, spec in axes.items()} == golden.logical_axes
    assert {array.dtype for array in initialized.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize("remat_policy", ["none", "full"])
def test_scanned_parameter_tree_and_axes(golden, remat_policy):
    network, _ = golden.build(scan_layers=True, remat_policy=remat_policy)
    initialized, axes = shapes_and_axes(network, golden.inputs)
    found = {
        name: {"axes": list(axes[name]), "shape": list(array.shape)}
        for name, array in initialized.items()
    }
    assert found == golden.scalable_parameters


def test_initial_scales(golden_1_1):
    """T5X's initial standard deviations, from the fan-in of each kernel."""
    golden = golden_1_1
    network, _ = golden.build(scan_layers=True, num_encoder_layers=16, emb_dim=64)
    variables = jax.jit(network.init)(jax.random.key(0), *golden.inputs)
    initialized = named(variables["params"])
    stack = "encoder/encoder"
    joined = golden.config.num_heads * golden.config.head_dim
    expected = {
        f"{stack}/attention/query/kernel": (64 * golden.config.head_dim) ** -0.5,
        f"{stack}/attention/key/kernel": 64**-0.5,
        f"{stack}/attention/value/kernel": 64**-0.5,
        f"{stack}/attention/out/kernel": joined**-0.5,
        f"{stack}/mlp/wi_0/kernel": 64**-0.5,
        f"{stack}/mlp/wo/kernel": golden.config.mlp_dim**-0.5,
        # Uniform on ±sqrt(3 / mean of 4 heads and 32 buckets).
        f"{stack}/relpos_bias/rel_embedding": 18**-0.5,
        "token_embedder/embedding": 1.0,
    }
    for name, deviation in expected.items():
        assert np.std(initialized[name]) == pytest.approx(deviation, rel=0.05), name
    np.testing.assert_array_equal(initialized["encoder/encoder_norm/scale"], 1.0)


def test_a_float32_residual_rounds_less(golden_1_1):
    golden, errors = golden_1_1, []
    for residual in (False, True):
        network, params = golden.build(dtype="bfloat16", float32_residual=residual)
        logits = jax.jit(network.apply)({"params": params}, *golden.inputs)
        errors.append(np.sqrt(np.mean(np.square(logits - golden.io["logits"]))))
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("float32_attention_logits", [False, True])
def test_bfloat16_activations(golden_1_1, float32_attention_logits):
    golden = golden_1_1
    network, params = golden.build(
        dtype="bfloat16", float32_attention_logits=float32_attention_logits
    )
    encoded = jax.eval_shape(
        lambda: network.apply(
            {"params": params}, golden.inputs[0], method=network.encode
        )
    )
    assert encoded.dtype == jnp.bfloat16
    logits = jax.jit(network.apply)({"params": params}, *golden.inputs)
    assert logits.dtype == jnp.float32
    error = np.abs(logits - golden.io["logits"])
    # bfloat16 keeps 8 bits: some 0.4% of logits of size 10, not more.
    assert 1e-4 < error.max() < 0.15
    assert error.mean() < 0.015
