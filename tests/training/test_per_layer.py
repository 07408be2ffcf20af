"""Optimisers under a scan over layers against the same layers each by itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import PartitionSpec

from dro_jax.errors import CheckpointError
from dro_jax.models import t5
from dro_jax.models.layer_stacking import stack_layers, unstacking
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROV
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.optimizers import OptimizerConfig, adafactor, adamw
from dro_jax.training.per_layer import per_layer
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.schedules import learning_rate_schedule
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.state import TrainState

# Large enough for Adafactor to factor matrices, its least size being 128.
NETWORK = t5.T5Config(
    vocab_size=130,
    emb_dim=192,
    num_heads=2,
    num_encoder_layers=4,
    num_decoder_layers=2,
    head_dim=64,
    mlp_dim=136,
    mlp_activations=("gelu", "linear"),
)


def shapes_of(config):
    tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    return jax.eval_shape(
        lambda key, *x: t5.T5(config).init(key, *x)["params"],
        jax.random.key(0),
        *[tokens] * 3,
    )


def layers_apart(shapes):
    """The shapes of stacked parameters, a subtree a layer."""
    flat = flatten_dict(shapes, sep="/")
    parts = unstacking({name: x.shape for name, x in flat.items()})
    stacked = {part.source for part in parts.values()}
    flat = {name: x for name, x in flat.items() if name not in stacked} | {
        name: jax.ShapeDtypeStruct(part.shape, jnp.float32)
        for name, part in parts.items()
    }
    return unflatten_dict(flat, sep="/")


def config_of(optimizer, max_grad_norm=None):
    rate = learning_rate_schedule(learning_rate=0.01, warmup_steps=3)
    return OptimizerConfig(optimizer, rate, None, max_grad_norm)


def apart():
    """Layers whose root mean squares are 1, 0.1, 0.01 and 0.001, of policy and value."""
    tree = shapes_of(NETWORK)
    tree["value"] = {"decoder": tree.pop("decoder")}
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        scale = next((0.1**i for i in range(4) if f"layers_{i}" in name), 1.0)
        return (scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, tree)


def gradients(params, seed, biases=True):
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        scale = 0.0 if "relpos" in jax.tree_util.keystr(path) and not biases else 1.0
        # Of every size, so that clipping matters in some layers and not in others.
        scale *= 10.0 ** rng.integers(-3, 3)
        return (scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, params)


def trained(tx, params, grads):
    @jax.jit
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for gradient in grads:
        params, state = step(params, state, gradient)
    return params


@pytest.mark.parametrize(
    ("optimizer", "max_grad_norm"),
    [
        (adafactor(weight_decay=0.01), None),
        (adamw(weight_decay=0.1), 1.0),
    ],
    ids=["adafactor", "adamw, clipped"],
)
def test_a_scan_over_layers_changes_no_update(optimizer, max_grad_norm):
    params = apart()
    # Each layer of a scan has a bias of its own, which would count in the global norm.
    grads = [gradients(params, step, max_grad_norm is None) for step in range(20)]
    tx = config_of(optimizer, max_grad_norm).build()
    wanted = stack_layers(trained(tx, params, grads))
    scanned = trained(tx, stack_layers(params), map(stack_layers, grads))
    moved = 0.0
    for a, b, start in zip(
        *map(small.leaves, (scanned, wanted, stack_layers(params))), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
        moved = max(moved, np.abs(a - start).max())
    assert moved > 0.05


def test_the_state_of_t5_large_is_as_small_as_without_a_scan():
    stacked = shapes_of(dataclasses.replace(small.T5_LARGE, scan_layers=True))
    tx = config_of(adafactor()).build()

    def size(params):
        state = jax.eval_shape(tx.init, params)
        return sum(x.size for x in jax.tree.leaves(state) if x.dtype == jnp.float32)

    assert size(layers_apart(stacked)) == 1_335_722
    # The layers' own relative biases, of 16 heads and 32 buckets: 23 more a stack, and
    # two empty factors each.
    assert size(stacked) == 1_335_722 + 2 * 23 * (16 * 32 + 2)


def test_without_a_scan_updates_and_state_are_optax_s_own():
    encoder = apart()["encoder"]
    params = {
        "encoder": {
            "layers_0": {"mlp": {"wo": encoder["layers_0"]["mlp"]["wo"]}},
            "relpos_bias": encoder["relpos_bias"],
        }
    }
    ours, optax_s = per_layer(optax.adafactor(0.01)), optax.adafactor(0.01)
    state, wanted = ours.init(params), optax_s.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(wanted)
    with pytest.raises(ValueError, match="needs the parameters"):
        ours.update(params, state)
    updates = ours.update(params, state, params), optax_s.update(params, wanted, params)
    jax.tree.map(np.testing.assert_array_equal, *updates)


def layout(optimizer, **mesh):
    batch = {n: np.asarray(x) for n, x in small.unpacked(small.examples()).items()}
    model = FeedbackModel(
        network=dataclasses.replace(NETWORK, scan_layers=True), objective=DROV()
    )
    steps = MeshSteps(
        model,
        config_of(optimizer, 1.0).build(),
        MeshConfig(**mesh).build(),
        batch,
        key=jax.random.key(0),
    )
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            leaf.shape,
            leaf.sharding,
        )
        for path, leaf in jax.tree_util.tree_flatten_with_path(
            steps.state_layout.opt_state
        )[0]
    }


def test_factors_of_layers_are_placed_like_their_axes():
    found = layout(adafactor(), data=4, model=2, fsdp=True)

    def place(name):
        ((shape, sharding),) = [x for n, x in found.items() if n.endswith(f"/{name}")]
        return shape, sharding.spec

    by_embed, by_model = PartitionSpec(None, "data"), PartitionSpec(None, "model")
    assert place("v_row/encoder/encoder/mlp/wi_0/kernel") == ((4, 136), by_model)
    assert place("v_col/encoder/encoder/mlp/wi_0/kernel") == ((4, 192), by_embed)
    # 192 embeddings by 2 heads of 64.
    assert place("v_row/decoder/decoder/self_attention/out/kernel") == (
        (2, 128),
        by_model,
    )
    norm = "v/value/decoder/decoder/pre_mlp_layer_norm/scale"
    assert place(norm) == ((2, 192), by_embed)
    split = sum(
        np.prod(s) for s, place in found.values() if not place.is_fully_replicated
    )
    assert split > 0.9 * sum(np.prod(shape) for shape, _ in found.values())


def test_a_state_that_spans_the_layers_is_refused(tmp_path):
    params = jax.tree.map(jnp.asarray, stack_layers(apart()))

    def state_of(config):
        return TrainState(np.int32(1), params, config.build().init(params))

    checkpointer = Checkpointer(tmp_path, CheckpointConfig())
    earlier = config_of(optax.adafactor)
    checkpointer.save(state_of(earlier), RunProgress())
    checkpointer.wait()
    with pytest.raises(
        CheckpointError, match="took stacked layers .SCAN_LAYERS. for one"
    ):
        checkpointer.restore(state_of(config_of(adafactor())))
    with pytest.raises(CheckpointError, match="is in .* alone"):
        checkpointer.restore(state_of(config_of(adamw())))
    checkpointer.close()
