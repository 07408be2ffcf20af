"""Meshes of 8 simulated devices against one device: the same numbers."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
import small
from jax.sharding import PartitionSpec

from dro_jax import batch_fields
from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import (
    BCO,
    DPO,
    DRO,
    DROP,
    DROV,
    KTO,
    NLL,
    PPO,
    PRO,
    QRPO,
    RPO,
    TBRM,
    ALoLSeq,
    RGold,
    registry,
)
from dro_jax.training import optimizers, schedules
from dro_jax.training import state as state_lib
from dro_jax.training.before.mismatched_pairs import with_mismatched_prompts
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.sharding import MeshConfig

ONE = MeshConfig(data=1)
MESHES = {
    "data": MeshConfig(),
    "model": MeshConfig(data=1, model=2),
    "fsdp": MeshConfig(fsdp=True),
    "mixed": MeshConfig(data=4, model=2, fsdp=True, shard_activations=True),
}
MODELS = {
    "nll": (NLL(), None),
    "dro": (DRO(0.5), ValueConfig(network="shared_head", trunk_gradient=True)),
    "dro_v": (DROV(0.5), None),
    "dro_v_batch": (DROV(0.5), ValueConfig(granularity="batch")),
    "dro_p": (DROP(0.5), None),
    "r_gold": (RGold(), None),
}
# What others need beside these, each once: the mesh that has everything does. That a
# formula is the same over devices is the contract suite's.
OTHERS = {
    "a_lol_seq": (ALoLSeq(), None),
    "kto": (KTO("batch_mean", class_weights=(1.0, 1.3)), None),
    "bco": (BCO(), None),
    "rpo": (RPO(0.5), None),
    "qrpo": (QRPO(0.5), None),
    "dpo": (DPO(), None),
    "pro": (PRO(), None),
    "tbrm": (TBRM(0.5), None),
    "ppo": (PPO(kl_target=1.0, token_mean=True), None),
    # Which reads no statistic of the batch, and so goes in other microbatches.
    "ppo_fixed": (PPO(), None),
}
# A head on the trunk, a network of its own, a statistic of the batch: what meshes could
# break in a way of its own. Of the others the mesh that has everything tells.
ON_EVERY_MESH = ("dro", "dro_v", "dro_p")
LARGE = ("nll", "dro_v_batch")
SGD = optax.sgd(1.0)
LOGITS_OF_A_ROW = 4 * 40 * 12  # so that log-probs are made in several chunks


@functools.cache
def packed_batch():
    """16 rows of one to three trajectories, one of them missing in every third row."""
    lengths = ((4, 3), (3, 4), (5, 2), (2, 5), (3, 3))
    items = small.examples(3, lengths * 8)
    rows, at = [], 0
    for row in range(16):
        count = 3 if row % 3 else 1
        rows.append(items[at % 30 : at % 30 + count])
        at += count
    batch = {name: np.asarray(x) for name, x in small.pack(rows).items()}
    return batch | of_records(batch)


def of_records(batch):
    """What objectives read of records beside their rewards, and other rows' prompts."""
    rng = np.random.default_rng(4)
    shape = batch["rewards"].shape
    fields = {
        "reference_logprobs": rng.normal(-15, 2, shape),
        "reference_token_logprobs": rng.normal(
            -4, 1, batch["decoder_input_tokens"].shape
        ),
        "advantages": rng.normal(0, 1, shape),
        "prompt_values": rng.normal(0, 1, shape),
        "quantiles": rng.random(shape),
    }
    tokens = batch_fields.names(source="samples")
    shape_of_tokens = batch["decoder_input_tokens"].shape
    fields |= {name: rng.normal(-4, 1, shape_of_tokens) for name in tokens}
    fields = {name: x.astype(np.float32) for name, x in fields.items()}
    ids = np.stack([np.full(shape, 7), np.arange(np.prod(shape)).reshape(shape)], -1)
    paired = with_mismatched_prompts(batch | {"record_ids": ids})
    del paired["record_ids"]
    return paired | fields


@functools.cache
def grouped_batch():
    """16 rows of one or two groups of up to three responses."""
    made = small.groups(5, (3, 2, 1) * 8)
    rows = [[made[i]] for i in range(8)] + [made[i : i + 2] for i in range(8, 24, 2)]
    batch = {name: np.asarray(x) for name, x in small.pack_groups(rows, 3).items()}
    return batch | of_records(batch)


def batch_for(kind):
    return grouped_batch() if kind in ("dpo", "pro") else packed_batch()


@functools.cache
def reference_params():
    """KTO's, on the host: they are put where they are used."""
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    return jax.device_get(small.init(model, packed_batch()))


def model_of(kind, network=small.NETWORK):
    objective, value = (MODELS | OTHERS)[kind]
    return FeedbackModel(
        network=network,
        objective=objective,
        value=value,
        logits_bytes=LOGITS_OF_A_ROW,
    )


@functools.cache
def starting_params(value):
    """On the host, for every kind of one value estimate: drawn once, for all meshes.

    That what is drawn does not depend on a mesh is a test of the initialisation.
    """
    kind = next(k for k in MODELS | OTHERS if model_of(k).value_config == value)
    return jax.device_get(small.init(model_of(kind), packed_batch(), seed=1))


def start(steps, kind):
    """The state before the first update, on the mesh of the steps."""
    params = starting_params(model_of(kind).value_config)
    with steps.partitioner.context():
        return state_lib.create(
            jax.device_put(params, steps.layout.shardings), SGD, steps.state_layout
        )


def steps_of(kind, mesh, num_microbatches=1, optimizer=SGD, network=small.NETWORK):
    return MeshSteps(
        model_of(kind, network),
        optimizer,
        mesh.build(),
        batch_for(kind),
        key=jax.random.key(0),
        num_microbatches=num_microbatches,
    )


def one_step(kind, mesh, num_microbatches=1):
    """Loss, gradient and parameters after an update by exactly that gradient."""
    steps = steps_of(kind, mesh, num_microbatches)
    state = start(steps, kind)
    before = jax.device_get(state.params)
    reference = reference_params() if kind == "kto" else None
    state, metrics = steps.train(state, batch_for(kind), reference)
    after = jax.device_get(state.params)
    gradient = jax.tree.map(np.subtract, before, after)
    return jax.device_get(metrics), gradient, after


@functools.cache
def expected(kind):
    return one_step(kind, ONE)


def assert_same(actual, wanted, *, least=0.1):
    (metrics, gradient, params), (wanted_metrics, *wanted_trees) = actual, wanted
    for name, metric in wanted_metrics.items():
        np.testing.assert_allclose(
            metrics[name].compute(),
            metric.compute(),
            rtol=2e-5,
            atol=1e-5,
            err_msg=name,
        )
    for tree, wanted_tree in zip((gradient, params), wanted_trees, strict=True):
        for a, b in zip(small.leaves(tree), small.leaves(wanted_tree), strict=True):
            scale = max(1.0, float(np.abs(b).max()))
            np.testing.assert_allclose(a, b, atol=2e-5 * scale)
    assert max(np.abs(leaf).max() for leaf in small.leaves(gradient)) > least


def test_all_that_an_objective_can_need_is_sharded():
    def needed(objectives):
        return {n for o in objectives for n, needs in vars(o.needs).items() if needs}

    here = [objective for objective, _ in (MODELS | OTHERS).values()]
    assert needed(kind() for kind in registry.of_policies().values()) <= needed(here)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mesh", "num_microbatches"),
    # Whole on every other: each meets both, and half the programs are compiled.
    [
        (kind, mesh, 1 + (row + column) % 2)
        for row, kind in enumerate(ON_EVERY_MESH)
        for column, mesh in enumerate(MESHES)
    ],
)
def test_a_mesh_gives_the_numbers_of_one_device(kind, mesh, num_microbatches):
    actual = one_step(kind, MESHES[mesh], num_microbatches)
    assert_same(actual, expected(kind), least=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in MODELS | OTHERS if k not in ON_EVERY_MESH])
def test_a_mesh_of_everything_gives_the_numbers_of_one_device(kind):
    # Some gradients are small where the model is all but uniform.
    least = 0.1 if kind in LARGE else 0.01
    assert_same(one_step(kind, MESHES["mixed"], 2), expected(kind), least=least)


@pytest.mark.parametrize("kind", MODELS)
def test_microbatches_give_the_numbers_of_the_whole_batch(kind):
    least = 0.01 if kind == "r_gold" else 0.1
    assert_same(one_step(kind, ONE, num_microbatches=4), expected(kind), least=least)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "scan"), [("dro_v", "adamw", False), ("nll", "adafactor", True)]
)
def test_optimiser_state_is_sharded_like_parameters(kind, name, scan):
    network = dataclasses.replace(small.NETWORK, scan_layers=scan)

    def train(mesh):
        config = optimizers.OptimizerConfig(
            getattr(optimizers, name)(),
            schedules.learning_rate_schedule(learning_rate=0.05),
            max_grad_norm=1.0,
        )
        steps = steps_of(kind, mesh, optimizer=config.build(), network=network)
        state = steps.start(None, jax.random.key(1))
        for _ in range(3):
            state, _ = steps.train(state, packed_batch(), None)
        return state

    sharded, single = train(MESHES["mixed"]), train(ONE)
    for a, b in zip(small.leaves(sharded), small.leaves(single), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)
    split = [
        leaf
        for leaf in jax.tree.leaves(sharded.opt_state)
        if not leaf.sharding.is_fully_replicated
    ]
    held = sum(leaf.addressable_shards[0].data.size for leaf in split)
    assert held < 0.3 * sum(leaf.size for leaf in split)
    assert sum(leaf.size for leaf in split) > 0.5 * sum(
        leaf.size for leaf in jax.tree.leaves(sharded.opt_state)
    )


def test_parameters_are_placed_by_their_logical_axes():
    layout = steps_of("dro_v", MESHES["mixed"]).layout
    for tree in (layout.shardings, layout.shardings["value"]):
        assert tree["token_embedder"]["embedding"].spec == PartitionSpec(
            "model", "data"
        )
        mlp = tree["encoder"]["layers_0"]["mlp"]
        assert mlp["wi_0"]["kernel"].spec == PartitionSpec("data", "model")
        assert mlp["wo"]["kernel"].spec == PartitionSpec("model", "data")
    single = steps_of("dro_v", MESHES["data"]).layout.shardings
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(single))


def test_an_axis_that_devices_do_not_divide_stays_whole():
    layout = steps_of("nll", MeshConfig(data=1, model=3)).layout
    assert layout.shardings["token_embedder"]["embedding"].is_fully_replicated
    wi = layout.shardings["encoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
    assert wi.spec == PartitionSpec(None, "model")  # 24 = 3 · 8


@pytest.mark.parametrize(
    "config", [MeshConfig(model=3), MeshConfig(data=0), MeshConfig(data=16)]
)
def test_a_mesh_that_does_not_fit_is_refused(config):
    with pytest.raises(ConfigError, match="does not fit 8 devices"):
        config.build()


def test_a_batch_that_does_not_divide_is_refused():
    partitioner = MeshConfig(data=4, model=2).build()
    partitioner.check_batch_size(16, 4)
    with pytest.raises(ConfigError, match="use a multiple of 8"):
        partitioner.check_batch_size(12, 2)
