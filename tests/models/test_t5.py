"""What T5 may see, what it recomputes, and how it is distributed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.linen import partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dro_jax.errors import ConfigError
from dro_jax.models import layers
from dro_jax.models.layer_stacking import stack_layers
from dro_jax.models.t5 import T5, T5Config


def perturbed_hidden(network, params, inputs, deltas):
    """Decoder hidden states with ``deltas`` added to both sides' embeddings."""
    remaining = list(deltas)

    def add_delta(embed, args, kwargs, context):
        embedded = embed(*args, **kwargs)
        is_lookup = isinstance(context.module, layers.Embed)
        if is_lookup and context.method_name == "__call__":
            embedded = embedded + remaining.pop(0)
        return embedded

    def hidden(module):
        encoded = module.encode(inputs[0], *inputs[3:4])
        return module.decode_hidden(encoded, *inputs)

    with nn.intercept_methods(add_delta):
        return network.apply({"params": params}, method=hidden)


def influence(golden, inputs, **layout):
    """``[B, T, …]`` gradients: the effect of each embedding on each hidden state."""
    network, params = golden.build(**layout)
    deltas = [
        jnp.zeros((*tokens.shape, golden.config.emb_dim)) for tokens in inputs[:2]
    ]
    directions = jax.random.normal(jax.random.key(0), (golden.config.emb_dim,))

    def states(deltas):
        return perturbed_hidden(network, params, inputs, deltas) @ directions

    jacobian = jax.jit(jax.jacrev(states))(deltas)
    encoder, decoder = (np.abs(j).sum(-1) for j in jacobian)
    rows = np.arange(inputs[0].shape[0])
    return encoder[rows, :, rows], decoder[rows, :, rows]


@pytest.mark.parametrize("scan_layers", [False, True])
def test_decoder_is_causal(golden_1_1, scan_layers):
    golden = golden_1_1
    _, decoder = influence(golden, golden.inputs, scan_layers=scan_layers)
    row = 1  # The row whose response has no padding.
    assert (golden.io["decoder_target_tokens"][row] > 0).all()
    seen = decoder[row] > 0
    np.testing.assert_array_equal(seen, np.tril(np.ones_like(seen)))


def test_padding_is_not_seen(golden_1_1):
    golden = golden_1_1
    encoder, decoder = influence(golden, golden.inputs)
    real_prompt = golden.io["encoder_input_tokens"] > 0
    real_target = golden.io["decoder_target_tokens"] > 0
    visible = real_target[:, :, None] & real_prompt[:, None, :]
    np.testing.assert_array_equal(encoder[real_target] > 0, visible[real_target])
    hidden_targets = real_target[:, :, None] & ~real_target[:, None, :]
    assert (decoder[hidden_targets] == 0).all()


def test_packed_neighbours_do_not_leak(golden):
    inputs = golden.packed_inputs
    encoder, decoder = influence(golden, inputs)
    prompt_segments, target_segments = inputs[3:]
    real = target_segments > 0
    own = target_segments[:, :, None] == prompt_segments[:, None, :]
    np.testing.assert_array_equal(encoder[real] > 0, own[real])
    own = target_segments[:, :, None] == target_segments[:, None, :]
    own &= np.tril(np.ones(own.shape[1:], bool))
    np.testing.assert_array_equal(decoder[real] > 0, own[real])


def test_padding_changes_nothing(golden):
    network, params = golden.build()
    wider = [np.pad(x, ((0, 2), (0, 5))) for x in golden.inputs]
    logits = jax.jit(network.apply)({"params": params}, *wider)
    assert np.isfinite(logits).all()
    rows, length = golden.io["decoder_target_tokens"].shape
    real = golden.io["decoder_target_tokens"] > 0
    np.testing.assert_allclose(
        logits[:rows, :length][real], golden.io["logits"][real], atol=1e-5
    )


def loss_and_gradients(network, params, inputs):
    targets = inputs[2]

    def loss(params):
        logits = network.apply({"params": params}, *inputs)
        labels = jax.nn.one_hot(targets, logits.shape[-1])
        losses = -jnp.sum(jax.nn.log_softmax(logits) * labels, axis=-1)
        return jnp.sum(losses * (targets > 0).astype(jnp.float32))

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.fixture(scope="module")
def gradients_1_1(golden_1_1):
    network, params = golden_1_1.build()
    return loss_and_gradients(network, params, golden_1_1.inputs)


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        found,
        expected,
    )


def test_padding_rows_give_finite_gradients(golden_1_1, gradients_1_1):
    golden = golden_1_1
    network, params = golden.build()
    padded = [np.pad(x, ((0, 1), (0, 0))) for x in golden.inputs]
    loss, gradients = loss_and_gradients(network, params, padded)
    np.testing.assert_allclose(loss, golden.io["cross_entropy_loss_sum"], rtol=1e-6)
    assert_close(gradients, gradients_1_1[1])


def assert_same_gradients(found, unscanned, scanned):
    np.testing.assert_allclose(found[0], unscanned[0], rtol=1e-6)
    found, expected = found[1], unscanned[1]
    if scanned:
        expected = stack_layers(expected)
        for stack in ("encoder", "decoder"):
            # Each layer has a bias of its own; the shared one gets the sum.
            bias = found[stack][stack].pop("relpos_bias")["rel_embedding"]
            shared = expected[stack][stack].pop("relpos_bias")["rel_embedding"]
            assert_close(bias.sum(axis=1), shared[:, 0])
    assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("remat_policy", "scan_layers"), [("minimal", False), ("full", True)]
)
def test_remat_keeps_gradients(golden_1_1, gradients_1_1, scan_layers, remat_policy):
    network, params = golden_1_1.build(
        scan_layers=scan_layers, remat_policy=remat_policy
    )
    found = loss_and_gradients(network, params, golden_1_1.inputs)
    assert_same_gradients(found, gradients_1_1, scan_layers)
    jaxpr = str(jax.make_jaxpr(network.apply)({"params": params}, *golden_1_1.inputs))
    assert "checkpoint" in jaxpr or "remat" in jaxpr


def test_scanned_gradients(golden_1_1, gradients_1_1):
    network, params = golden_1_1.build(scan_layers=True)
    found = loss_and_gradients(network, params, golden_1_1.inputs)
    assert_same_gradients(found, gradients_1_1, scanned=True)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_dropout_only_when_enabled(golden_1_1, scan_layers):
    network, params = golden_1_1.build(dropout_rate=0.3, scan_layers=scan_layers)
    variables, inputs = {"params": params}, golden_1_1.inputs
    np.testing.assert_allclose(
        jax.jit(network.apply)(variables, *inputs), golden_1_1.io["logits"], atol=1e-5
    )

    @jax.jit
    def dropped(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return network.apply(variables, *inputs, enable_dropout=True, rngs=rngs)

    np.testing.assert_array_equal(dropped(0), dropped(0))
    assert np.abs(dropped(0) - dropped(1)).max() > 0.1


def test_dropout_differs_between_scanned_layers(golden_1_1):
    """A dropped unit gives its output column no gradient; which, layers choose."""
    network, params = golden_1_1.build(scan_layers=True, dropout_rate=0.5)
    prompt = golden_1_1.inputs[0][:1]

    def loss(params):
        rngs = {"dropout": jax.random.key(0)}
        encoded = network.apply(
            {"params": params},
            prompt,
            enable_dropout=True,
            rngs=rngs,
            method=network.encode,
        )
        return jnp.sum(encoded**3)

    gradients = jax.jit(jax.grad(loss))(params)
    output = gradients["encoder"]["encoder"]["mlp"]["wo"]["kernel"]
    dropped = np.asarray(output == 0).all(axis=0)
    assert dropped.any(axis=1).all()
    assert (dropped[0] != dropped[1]).any()


def test_hidden_states_and_logits_compose(golden):
    network, params = golden.build()
    inputs = golden.inputs

    def composed(module):
        encoded = module.encode(inputs[0])
        hidden = module.decode_hidden(encoded, *inputs)
        return hidden, module.logits(hidden), module.logits(hidden[:, 3])

    apply = jax.jit(lambda params: network.apply({"params": params}, method=composed))
    hidden, logits, one_step = apply(params)
    assert hidden.shape == (*inputs[1].shape, golden.config.emb_dim)
    np.testing.assert_allclose(logits, golden.io["logits"], atol=1e-5)
    np.testing.assert_allclose(one_step, golden.io["logits"][:, 3], atol=1e-5)


RULES = [
    ("batch", "data"),
    ("vocab", "model"),
    ("mlp", "model"),
    ("heads", "model"),
    ("joined_kv", "model"),
]


@pytest.mark.parametrize("scan_layers", [False, True])
def test_sharded_over_a_mesh(golden_1_1, scan_layers):
    """Same logits, and the embedding table is never gathered whole."""
    golden = golden_1_1
    network, params = golden.build(scan_layers=scan_layers)
    inputs = [np.concatenate([x, x[:1]]) for x in golden.inputs]
    mesh = Mesh(np.reshape(jax.devices(), (4, 2)), ("data", "model"))
    initialize = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    axes = partitioning.get_axis_names(initialize["params_axes"]).unfreeze()
    shardings = jax.tree.map(
        lambda spec: NamedSharding(
            mesh, PartitionSpec(*partitioning.logical_to_mesh_axes(spec, RULES))
        ),
        axes,
        is_leaf=lambda x: isinstance(x, PartitionSpec),
    )
    params = jax.device_put(params, shardings)
    inputs = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec("data")))
    with jax.set_mesh(mesh), partitioning.axis_rules(RULES):
        compiled = jax.jit(network.apply).lower({"params": params}, *inputs).compile()
    logits = compiled({"params": params}, *inputs)
    np.testing.assert_allclose(logits[:-1], golden.io["logits"], atol=1e-5)
    program = compiled.as_text().splitlines()
    assert any("f32[192,32]" in line for line in program)  # Half of the table.
    gathered = [line for line in program if " all-gather" in line]
    assert not any("f32[384,32]" in line for line in gathered)


def test_segment_ids_come_in_pairs(golden):
    network, params = golden.build()
    with pytest.raises(ValueError, match="segment_ids"):
        network.apply({"params": params}, *golden.packed_inputs[:4])


def test_config_rejects_what_it_cannot_build():
    with pytest.raises(ConfigError, match="remat_policy is 'some'"):
        T5Config(vocab_size=8, remat_policy="some")
    for rate in (-0.1, 1.0):  # activations would shrink, or all be dropped
        with pytest.raises(ConfigError, match=f"dropout_rate is {rate} .DROPOUT_RATE"):
            T5Config(vocab_size=8, dropout_rate=rate)
    with pytest.raises(ConfigError, match="'glu_of_nothing'"):
        T5Config(vocab_size=8, mlp_activations=("glu_of_nothing",))
    with pytest.raises(ConfigError, match="num_heads is 0"):
        T5Config(vocab_size=8, num_heads=0)


def test_config_is_hashable_however_it_is_written():
    written = T5Config(
        vocab_size=8, mlp_activations=["gelu", "linear"], dtype="bfloat16"
    )
    same = T5Config(
        vocab_size=8, mlp_activations=("gelu", "linear"), dtype=jnp.bfloat16
    )
    assert hash(T5(written)) == hash(T5(same))
    assert T5(written) == T5(same)
