"""What every objective keeps, whatever its formula: one suite for all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax import objectives
from dro_jax.objectives import Trajectories

N, T = 6, 5
ALL = [
    objectives.NLL(),
    objectives.WeightedBC(),
    objectives.RGold(),
    objectives.DRO(0.7),
    objectives.DROV(0.7),
    objectives.DROP(0.7),
    objectives.RLoL(),
    objectives.UNA(0.7),
    objectives.APOZero(),
    objectives.APOZero("batch_mean"),
    objectives.TOPR(),
    objectives.PMPO(),
]
# A statistic of the batch couples the others' trajectories: a loss is not their own.
SEPARABLE = [objective for objective in ALL if not objective.needs.whole_batch]
# What a model computes, and so what gradients flow into.
COMPUTED = ("policy_logprobs", "token_logprobs", "values")


def make_trajectories(seed=0, n=N, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "policy_logprobs": -10 * rng.random(n),
        "reference_logprobs": -10 * rng.random(n),
        "rewards": rng.normal(size=n),
        "values": rng.normal(size=n),
        "weights": np.ones(n),
        "token_logprobs": -2 * rng.random((n, T)),
        "token_weights": np.arange(T) < rng.integers(1, T + 1, (n, 1)),
    }
    fields = {name: jnp.asarray(x, jnp.float32) for name, x in fields.items()}
    return Trajectories(**(fields | changes))


def batch_loss(objective, trajectories, normalizer=None):
    total = objective(trajectories).total
    if normalizer is None:
        normalizer = jnp.sum(trajectories.weights)
    return jnp.sum(total * trajectories.weights) / normalizer


def gradient(objective, trajectories):
    def loss(computed):
        return batch_loss(objective, dataclasses.replace(trajectories, **computed))

    return jax.grad(loss)({name: getattr(trajectories, name) for name in COMPUTED})


named = pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
separable = pytest.mark.parametrize(
    "objective", SEPARABLE, ids=lambda o: type(o).__name__
)


@named
def test_one_float32_loss_per_trajectory(objective):
    losses = objective(make_trajectories())
    assert losses.policy.shape == (N,)
    assert losses.policy.dtype == jnp.float32
    for term in losses.terms.values():
        assert term.shape == (N,)


@named
def test_padding_changes_neither_loss_nor_gradient(objective):
    plain = make_trajectories()
    padded = jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.full((3, *x.shape[1:]), 50.0)]), plain
    )
    padded = dataclasses.replace(padded, weights=jnp.pad(plain.weights, (0, 3)))
    np.testing.assert_allclose(
        batch_loss(objective, padded), batch_loss(objective, plain), rtol=1e-6
    )
    with_padding, without = gradient(objective, padded), gradient(objective, plain)
    for name in COMPUTED:
        np.testing.assert_allclose(
            with_padding[name][:N], without[name], rtol=1e-5, atol=1e-7
        )
        np.testing.assert_array_equal(with_padding[name][N:], 0)
    assert any(np.abs(part).max() > 0 for part in without.values())


@separable
def test_a_neighbour_changes_no_other_loss(objective):
    ours = make_trajectories()
    changed = dataclasses.replace(ours, rewards=ours.rewards.at[0].set(9.0))
    np.testing.assert_array_equal(
        objective(changed).policy[1:], objective(ours).policy[1:]
    )


@separable
def test_microbatches_add_up_to_the_full_batch(objective):
    whole = make_trajectories()
    halves = [jax.tree.map(lambda x, s=s: x[s], whole) for s in (slice(0, 2), slice(2, N))]
    parts = sum(batch_loss(objective, half, normalizer=float(N)) for half in halves)
    np.testing.assert_allclose(parts, batch_loss(objective, whole), rtol=1e-5)


@named
def test_jit_and_vmap_give_the_same_losses(objective):
    batches = [make_trajectories(seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    mapped = jax.vmap(lambda t: objective(t).policy)(stacked)
    for index, batch in enumerate(batches):
        expected = objective(batch).policy
        np.testing.assert_allclose(mapped[index], expected, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(objective)(batch).policy, expected, rtol=1e-6)


@named
def test_sharding_over_devices_changes_nothing(objective):
    batch = make_trajectories(n=16)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:8]), ("data",))
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sharded = jax.device_put(batch, spec)
    np.testing.assert_allclose(
        jax.jit(lambda t: batch_loss(objective, t))(sharded),
        batch_loss(objective, batch),
        rtol=1e-5,
    )


@named
def test_the_reference_gets_no_gradient(objective):
    batch = make_trajectories()
    grads = jax.grad(
        lambda reference: batch_loss(
            objective, dataclasses.replace(batch, reference_logprobs=reference)
        )
    )(batch.reference_logprobs)
    np.testing.assert_array_equal(grads, 0)


@named
def test_low_precision_sums_are_refused(objective):
    low = make_trajectories(
        policy_logprobs=jnp.zeros(N, jnp.bfloat16),
        token_logprobs=jnp.zeros((N, T), jnp.bfloat16),
    )
    if objective.needs.reference:
        low = dataclasses.replace(low, reference_logprobs=jnp.zeros(N))
    with pytest.raises(TypeError, match="_logprobs must be float32"):
        objective(low)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.RGold(1.5), "floor must be between 0 and 1"),
        (lambda: objectives.RLoL(-1.0), "clip must be a number of 0 or more"),
        (lambda: objectives.UNA(0.0), "beta must be a positive number"),
        (lambda: objectives.APOZero("median"), "threshold must be a number or"),
        (lambda: objectives.PMPO(alpha=2.0), "alpha must be between 0 and 1"),
        (lambda: objectives.PMPO(float("nan")), "threshold must be a number or"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_exported_name_resolves():
    for name in objectives.__all__:
        assert getattr(objectives, name) is not None
    with pytest.raises(AttributeError, match="no objective named 'drov'"):
        _ = objectives.drov
