"""KTO, BCO, UNA, APO-zero and their batch statistics (formulas: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import (
    apo_zero,
    bco,
    bco_shift,
    desirable_labels,
    dro,
    kto,
    kto_weights,
    mismatched_kl,
    una,
)

# By hand: ℓ = ln 3 for both, so with β = 1, σ(βℓ) = 3/4.
POLICY = jnp.full(2, -2.0)
REFERENCE = POLICY - np.float32(np.log(3))
LABELS = jnp.array([True, False])


def test_golden():
    ln3 = float(np.log(3))
    np.testing.assert_allclose(
        kto(POLICY, REFERENCE, LABELS, 0.0, beta=1.0), [1 / 4, 3 / 4], rtol=1e-5
    )
    # z = 2 ln 3: σ(βℓ − z) = 1/4.
    np.testing.assert_allclose(
        kto(POLICY, REFERENCE, LABELS, 2 * ln3, beta=1.0), [3 / 4, 1 / 4], rtol=1e-5
    )
    np.testing.assert_allclose(
        bco(POLICY, REFERENCE, LABELS, 2 * ln3, beta=1.0),
        [np.log(4), np.log(4 / 3)],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        apo_zero(POLICY, REFERENCE, LABELS, beta=1.0), [1 / 4, 3 / 4], rtol=1e-5
    )
    np.testing.assert_allclose(
        una(POLICY, REFERENCE, jnp.zeros(2), beta=2.0), 4 * ln3**2, rtol=1e-5
    )


def test_z_is_beta_times_kl_once():
    # ℓ = kl leaves no margin whatever beta is, so every loss is a half.
    for beta in (0.1, 3.0):
        losses = kto(POLICY, REFERENCE, LABELS, float(np.log(3)), beta=beta)
        np.testing.assert_allclose(losses, 0.5, rtol=1e-6)


def test_step_zero():
    np.testing.assert_array_equal(kto(POLICY, POLICY, LABELS, 0.0), 0.5)
    np.testing.assert_array_equal(apo_zero(POLICY, POLICY, LABELS, beta=0.1), 0.5)
    np.testing.assert_allclose(bco(POLICY, POLICY, LABELS, 0.0, beta=0.1), np.log(2))


def test_limits():
    # A negative kl counts as 0, and KTO is then APO-zero.
    np.testing.assert_array_equal(
        kto(POLICY, REFERENCE, LABELS, -3.0),
        apo_zero(POLICY, REFERENCE, LABELS, beta=0.1),
    )
    np.testing.assert_allclose(kto(POLICY, REFERENCE, LABELS, 9.0, beta=1e-8), 0.5)
    rewards = jnp.array([0.3, -1.0])
    np.testing.assert_allclose(
        una(POLICY, REFERENCE, rewards, beta=0.7),
        2 * dro(POLICY, REFERENCE, rewards, jnp.zeros(2), tau=0.7),
        rtol=1e-6,
    )


def test_gradients_push_the_labels_apart():
    for loss in (
        lambda p: kto(p, REFERENCE, LABELS, 0.3),
        lambda p: bco(p, REFERENCE, LABELS, 0.3, beta=0.1),
        lambda p: apo_zero(p, REFERENCE, LABELS, beta=0.1),
    ):
        gradient = jax.grad(lambda p, loss=loss: jnp.sum(loss(p)))(POLICY)
        assert gradient[0] < 0 < gradient[1]


def test_mismatched_kl():
    ratios, weights = jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(mismatched_kl(ratios, weights), 2.0)
    assert mismatched_kl(-ratios, weights) == 0
    assert mismatched_kl(ratios, jnp.zeros(3)) == 0
    gradient = jax.grad(mismatched_kl)(ratios, weights)
    np.testing.assert_array_equal(gradient, 0)


def test_mismatched_kl_depends_on_neither_order_nor_sharding():
    ratios = jnp.asarray(np.random.default_rng(0).normal(1, 1, 16), jnp.float32)
    weights = jnp.ones(16).at[5].set(0)
    expected = np.mean(np.delete(np.asarray(ratios), 5))
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:8]), ("data",))
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sharded = [jax.device_put(x, spec) for x in (ratios, weights)]
    for found in (
        jax.jit(mismatched_kl)(*sharded),
        mismatched_kl(ratios[::-1], weights[::-1]),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((10, 10), (1.0, 1.0)),
        ((12, 10), (1.0, 1.0)),
        ((10, 20), (2.0, 1.0)),
        ((40, 10), (1.0, 3.0)),
        ((1, 1000), (1000.0, 1.0)),
    ],
)
def test_kto_weights(counts, expected):
    weights = kto_weights(*counts)
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    ratio = weights[0] * counts[0] / (weights[1] * counts[1])
    assert 1 - 1e-12 <= ratio <= 4 / 3 + 1e-12


@pytest.mark.parametrize("counts", [(0, 5), (5, 0), (0, 0)])
def test_one_class_cannot_be_balanced(counts):
    with pytest.raises(ValueError, match="KTO needs both classes, got"):
        kto_weights(*counts)
    with pytest.raises(ValueError, match="max_ratio must be a number of 1 or more"):
        kto_weights(1, 1, max_ratio=0.5)


RATIOS = jnp.array([1.0, 3.0, -4.0, jnp.nan])
PRESENT = jnp.array([1.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("labels", "weights", "expected"),
    [
        # Not the mean of all, 0: the classes' means are 2 and −4.
        ([True, True, False, False], PRESENT, 0.5 * (-1.0)),
        ([False, False, True, True], PRESENT, 0.5 * (-1.0)),
        ([True, True, True, False], PRESENT, 0.0),
        ([True, True, False, True], PRESENT.at[2].set(0), 0.5 * 2.0),
        ([False] * 4, PRESENT.at[2].set(0), 0.5 * 2.0),
        ([True, False, True, False], jnp.zeros(4), 0.0),
    ],
    ids=["both", "swapped", "all", "undesirable missing", "desirable missing", "none"],
)
def test_bco_shift(labels, weights, expected):
    labels = jnp.array(labels)
    shift = bco_shift(RATIOS, labels, weights, beta=0.5)
    np.testing.assert_allclose(shift, expected, atol=1e-7)
    gradient = jax.grad(lambda x: bco_shift(x, labels, weights, beta=0.5))(RATIOS)
    np.testing.assert_array_equal(gradient, 0)


def test_labels():
    rewards, weights = jnp.array([-1.0, 0.0, 1.0, 2.0, 99.0]), jnp.ones(5).at[4].set(0)
    for threshold, first in ((0, 2), (1.5, 3), ("batch_mean", 2), (-5.0, 0)):
        labels = desirable_labels(rewards, weights, threshold)
        np.testing.assert_array_equal(labels, (np.arange(5) >= first) & (weights > 0))


@pytest.mark.parametrize("reward", [0.1, -0.7, 3.3])
@pytest.mark.parametrize("number", [3, 7, 11])
def test_equal_rewards_are_never_above_their_mean(reward, number):
    rewards = jnp.full(number, reward, jnp.float32)
    assert not desirable_labels(rewards, jnp.ones(number), "batch_mean").any()


@pytest.mark.parametrize("threshold", ["mean", float("nan"), float("inf")])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold must be a number or 'batch_mean'"):
        desirable_labels(jnp.zeros(2), jnp.ones(2), threshold)
