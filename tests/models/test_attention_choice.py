"""One setting chooses what computes attention; the numbers are the same but for rounding."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.sharding import AxisType, Mesh

from dro_jax.errors import ConfigError
from dro_jax.models import attention_choice, attention_residuals
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import T5Config
from dro_jax.objectives import DROV
from dro_jax.training.sharding import MeshConfig

NETWORK = dataclasses.replace(
    small.NETWORK, scan_layers=True, remat_policy="minimal", dropout_rate=0.3
)
APART = MeshConfig(data=4, model=2, fsdp=True)


def batch():
    one, two, three, four = small.examples()
    rows = [[one, two], [three], [four, one], [two]]
    return small.pack(rows, input_length=16, target_length=14)


def model_with(attention):
    network = dataclasses.replace(NETWORK, attention=attention)
    return FeedbackModel(network=network, objective=DROV(0.5))


@functools.cache
def initial():
    return small.init(model_with("dense"), batch())


def loss_and_gradients(attention, mesh=None):
    """Of DRO-V, its value network too, over packed rows."""
    model, inputs, params = model_with(attention), batch(), initial()
    reference = {"reference_logprobs": jnp.full(inputs["rewards"].shape, -17.0)}

    def loss(params):
        return model.loss(params, inputs | reference, dropout_rng=jax.random.key(7))[0]

    run = jax.jit(jax.value_and_grad(loss))
    if mesh is None:
        return run(params)
    with mesh.build().context():
        return run(params)


@pytest.fixture(scope="module")
def dense():
    return loss_and_gradients("dense")


@pytest.mark.parametrize(
    ("attention", "mesh"),
    [
        ("blocks", None),
        ("interpreted", APART),
        ("blocks", MeshConfig(data=8)),  # which 4 rows do not divide
    ],
    ids=["blocks", "the kernel, rows and heads apart", "blocks, rows whole"],
)
def test_a_step_of_packed_rows_is_that_of_matrices(dense, attention, mesh):
    found = loss_and_gradients(attention, mesh)
    np.testing.assert_allclose(found[0], dense[0], rtol=1e-5)
    for a, b in zip(small.leaves(found[1]), small.leaves(dense[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("attention", ["blocks", "interpreted"])
def test_minimal_remat_does_not_attend_again(golden_1_1, attention, capsys):
    network, params = golden_1_1.build(attention=attention, remat_policy="minimal")
    jax.ad_checkpoint.print_saved_residuals(
        lambda params: network.apply({"params": params}, *golden_1_1.inputs).sum(),
        params,
    )
    told, config = capsys.readouterr().out, network.config
    layers = config.num_encoder_layers + 2 * config.num_decoder_layers
    for name in attention_residuals.NAMES:
        assert told.count(f"named '{name}'") == layers


@pytest.mark.parametrize("attention", ["blocks", "interpreted"])
def test_bfloat16_rounds_as_matrices_do(golden_1_1, attention):
    network, params = golden_1_1.build(dtype="bfloat16", attention=attention)
    inputs = golden_1_1.packed_inputs
    logits = jax.jit(network.apply)({"params": params}, *inputs)
    error = np.abs(logits - golden_1_1.io["packed_logits"])[inputs[2] > 0]
    # What test_t5_golden.py allows the dense layer.
    assert 1e-4 < error.max() < 0.15
    assert error.mean() < 0.015


def on(platform, kind="TPU v5 lite"):
    """A mesh of devices that are not there."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,)).abstract_mesh
    device = type(mesh.abstract_device)(kind, None, platform)
    return jax.sharding.use_abstract_mesh(mesh.update(abstract_device=device))


@pytest.mark.parametrize(
    ("platform", "lengths", "expected"),
    [
        ("tpu", (1024, 512), "kernel"),
        ("tpu", (16, 1024), "dense"),  # value queries
        ("cuda", (1024, 512), "blocks"),
        ("cuda", (64, 64), "dense"),
        ("cpu", (256, 512), "dense"),
        ("cpu", (512, 512), "blocks"),
    ],
)
def test_auto_looks_at_the_devices_of_the_mesh_and_at_the_lengths(
    platform, lengths, expected
):
    with on(platform):
        assert attention_choice.implementation("auto", *lengths) == expected
        assert attention_choice.implementation("dense", *lengths) == "dense"


@pytest.mark.parametrize(
    ("kind", "length", "expected"),
    [
        ("TPU v3", 512, "blocks"),
        ("TPU v4", 512, "kernel"),
        ("TPU v4", 1024, "blocks"),  # in float32 more than 16 MiB
        ("TPU v5", 2048, "kernel"),
        ("TPU v5 lite", 8192, "kernel"),
        ("TPU v5 lite", 8193, "blocks"),
    ],
)
def test_auto_takes_blocks_where_a_tpu_has_no_room_for_the_kernel(
    kind, length, expected
):
    with on("tpu", kind):
        assert attention_choice.implementation("auto", 256, length) == expected


def test_auto_takes_no_kernel_where_no_mesh_says_how_to_split_it(monkeypatch):
    """A jit of several devices without a mesh in force, as of a reward model."""
    monkeypatch.setattr(attention_choice, "platform", lambda: "tpu")
    assert jax.device_count() > 1
    assert attention_choice.implementation("auto", 256, 256) == "blocks"
    found = []

    def of_one_device(x):
        found.append(attention_choice.implementation("auto", 256, 256))
        return x

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    jax.shard_map(of_one_device, mesh=mesh, in_specs=spec, out_specs=spec)(jnp.zeros(8))
    assert found == ["kernel"]


def test_the_mesh_of_t5x_is_seen():
    mesh = Mesh(np.reshape(jax.devices(), (4, 2)), ("data", "model"))
    with pytest.warns(DeprecationWarning), mesh:  # as T5X does it
        assert attention_choice.mesh_in_force() == mesh


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="attention is 'flash' .ATTENTION"):
        T5Config(vocab_size=8, attention="flash")
    with pytest.raises(ConfigError, match="'kernel' .* runs on TPUs only.*'cpu'"):
        attention_choice.implementation("kernel", 512, 512)
    with on("tpu"):
        assert attention_choice.implementation("kernel", 1, 1) == "kernel"
