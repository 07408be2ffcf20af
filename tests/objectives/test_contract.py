"""What every objective keeps, whatever its formula: one suite for all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax import objectives
from dro_jax.objectives import Labelled, Trajectories, registry

N, T = 6, 5
# Other settings than the defaults, where these hide something. An objective that is not
# named here is tested too, as its defaults are after a fit.
SETTINGS = {
    "dro": [objectives.DRO(0.7)],
    "dro_v": [objectives.DROV(0.7)],
    "dro_p": [objectives.DROP(0.7)],
    "dro_group": [objectives.DROGroup(0.7)],
    "una": [objectives.UNA(0.7)],
    "apo_zero": [objectives.APOZero(), objectives.APOZero("batch_mean")],
    "kto": [
        objectives.KTO(class_weights=(1.0, 1.3)),
        objectives.KTO("batch_mean", class_weights=(1.0, 1.3)),
    ],
    "rpo": [objectives.RPO(0.7)],
    "a_star_po": [objectives.AStarPO(0.7)],
    "qrpo": [objectives.QRPO(0.7)],
    "tbrm": [objectives.TBRM(0.7)],
    "oreo": [objectives.OREO(0.7, kl_weight=0.3)],
    "asym_re": [objectives.AsymRE(0.2)],
    "ppo": [objectives.PPO(), objectives.PPO(kl_target=1.0, token_mean=True)],
    "bradley_terry": [objectives.BradleyTerry(0.3)],
    "ipo": [objectives.IPO(0.7), objectives.IPO(0.7, length_averaged=True)],
}
KINDS = registry.kinds()
ALL = [
    objective
    for name, kind in KINDS.items()
    for objective in SETTINGS.get(name) or [kind().fitted_to(np.array([1.0, 0.0]))]
]
# A statistic of the batch couples the others' trajectories: a loss is not their own.
SEPARABLE = [objective for objective in ALL if not objective.needs.whole_batch]
# What a model computes, and so what gradients flow into.
COMPUTED = ("policy_logprobs", "token_logprobs", "values", "token_values", "scores")
GIVEN = (
    "reference_logprobs",
    "reference_token_logprobs",
    "advantages",
    "prompt_values",
    "quantiles",
    "mismatched_log_ratios",
    "old_token_logprobs",
    "old_token_values",
    "token_advantages",
    "token_returns",
)


def make_trajectories(objective, seed=0, n=N, **changes):
    """Trajectories of an objective's liking: in groups of three, best first, for some."""
    rng = np.random.default_rng(seed)
    size = group_size(objective)
    fields = {
        "policy_logprobs": -10 * rng.random(n),
        "reference_logprobs": -10 * rng.random(n),
        "rewards": -np.sort(-rng.normal(size=(n // size, size))).reshape(-1),
        "values": rng.normal(size=n),
        "weights": np.ones(n),
        "token_logprobs": -2 * rng.random((n, T)),
        "token_weights": np.arange(T) < rng.integers(1, T + 1, (n, 1)),
        "reference_token_logprobs": -2 * rng.random((n, T)),
        "token_values": rng.normal(size=(n, T)),
        "old_token_logprobs": -2 * rng.random((n, T)),
        "old_token_values": rng.normal(size=(n, T)),
        "token_advantages": rng.normal(size=(n, T)),
        "token_returns": rng.normal(size=(n, T)),
        "lengths": rng.integers(1, T + 1, n),
        "advantages": rng.normal(size=n),
        "prompt_values": rng.normal(size=n),
        "quantiles": rng.random(n),
        "mismatched_log_ratios": rng.random(n),
        "mismatched_weights": np.ones(n),
        "scores": rng.normal(size=n),
    }
    fields = {name: jnp.asarray(x, jnp.float32) for name, x in fields.items()}
    return Trajectories(**(fields | changes), group_size=size)


def group_size(objective):
    return 3 if objective.needs.groups else 1


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
    losses = objective(make_trajectories(objective))
    assert losses.policy.shape == (N,)
    assert losses.policy.dtype == jnp.float32
    for term in losses.terms.values():
        assert term.shape == (N,)


@named
def test_padding_changes_neither_loss_nor_gradient(objective):
    plain = make_trajectories(objective)
    padded = jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.full((3, *x.shape[1:]), 50.0)]), plain
    )
    empty = {
        name: jnp.pad(getattr(plain, name), (0, 3))
        for name in ("weights", "mismatched_weights")
    }
    padded = dataclasses.replace(padded, **empty)
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
    ours = make_trajectories(objective)
    changed = dataclasses.replace(ours, rewards=ours.rewards.at[0].set(9.0))
    others = slice(group_size(objective), None)
    np.testing.assert_array_equal(
        objective(changed).policy[others], objective(ours).policy[others]
    )


@separable
def test_microbatches_add_up_to_the_full_batch(objective):
    whole = make_trajectories(objective)
    halves = [
        jax.tree.map(lambda x, s=s: x[s], whole) for s in (slice(0, 3), slice(3, N))
    ]
    parts = sum(batch_loss(objective, half, normalizer=float(N)) for half in halves)
    np.testing.assert_allclose(parts, batch_loss(objective, whole), rtol=1e-5)


@named
def test_jit_and_vmap_give_the_same_losses(objective):
    batches = [make_trajectories(objective, seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    mapped = jax.vmap(lambda t: objective(t).policy)(stacked)
    for index, batch in enumerate(batches):
        expected = objective(batch).policy
        np.testing.assert_allclose(mapped[index], expected, rtol=1e-6)
        np.testing.assert_allclose(
            jax.jit(objective)(batch).policy, expected, rtol=1e-6
        )


@named
def test_sharding_over_devices_changes_nothing(objective):
    batch = make_trajectories(objective, n=24)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:8]), ("data",))
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sharded = jax.device_put(batch, spec)
    np.testing.assert_allclose(
        jax.jit(lambda t: batch_loss(objective, t))(sharded),
        batch_loss(objective, batch),
        rtol=1e-5,
    )


@named
def test_what_is_given_gets_no_gradient(objective):
    batch = make_trajectories(objective)
    grads = jax.grad(
        lambda given: batch_loss(objective, dataclasses.replace(batch, **given))
    )({name: getattr(batch, name) for name in GIVEN})
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, 0, err_msg=name)


@named
def test_low_precision_sums_are_refused(objective):
    low = make_trajectories(
        objective,
        policy_logprobs=jnp.zeros(N, jnp.bfloat16),
        token_logprobs=jnp.zeros((N, T), jnp.bfloat16),
        scores=jnp.zeros(N, jnp.bfloat16),
    )
    if objective.needs.reference:
        low = dataclasses.replace(low, reference_logprobs=jnp.zeros(N))
    with pytest.raises(TypeError, match="(logprobs|log_ratios|scores) must be float32"):
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
        (lambda: objectives.AWR(max_weight=0.0), "max_weight must be a positive"),
        (lambda: objectives.ALoL(-1.0), "clip must be a number of 0 or more"),
        (lambda: objectives.ALoLSeq(-1.0), "clip must be a number of 0 or more"),
        (lambda: objectives.ALoLKL(0.0), "beta must be a positive number"),
        (lambda: objectives.KTO(beta=0.0), "beta must be a positive number"),
        (lambda: objectives.KTO(class_weights=(1.0, -1.0)), "undesirable_weight"),
        (lambda: objectives.BCO(beta=-1.0), "beta must be a positive number"),
        (lambda: objectives.RPO(0.0), "tau must be a positive number"),
        (lambda: objectives.AStarPO(0.0), "tau must be a positive number"),
        (lambda: objectives.AStarPO(value_tau=0.0), "value_tau must be a positive"),
        (lambda: objectives.QRPO(0.0), "beta must be a positive number"),
        (lambda: objectives.TBRM(0.0), "beta must be a positive number"),
        (lambda: objectives.OREO(-1.0), "beta must be a positive number"),
        (lambda: objectives.OREO(kl_weight=-1.0), "kl_weight must be a number of 0 or"),
        (lambda: objectives.DPO(0.0), "beta must be a positive number"),
        (lambda: objectives.IPO(0.0), "tau must be a positive number"),
        (lambda: objectives.DROGroup(0.0), "tau must be a positive number"),
        (lambda: objectives.DROGroup(group_value="mean"), "group_value must be 'res"),
        (lambda: objectives.NCA(alpha=0.0), "alpha must be a positive number"),
        (lambda: objectives.AsymRE(-0.1), "delta must be a number of 0 or more"),
        (lambda: objectives.AsymRE(baseline="batch"), "baseline must be 'prompt' or"),
        (lambda: objectives.SimPO(0.0), "beta must be a positive number"),
        (lambda: objectives.SimPO(gamma=-1.0), "gamma must be a number of 0 or more"),
        (lambda: objectives.ORPO(-1.0), "odds_weight must be a number of 0 or more"),
        (lambda: objectives.PPO(clip=0.0), "clip must be a positive number"),
        (lambda: objectives.PPO(value_clip=-1.0), "value_clip must be a positive"),
        (lambda: objectives.PPO(value_coefficient=-1.0), "value_coefficient must be a"),
        (lambda: objectives.PPO(gamma=1.5), "gamma must be between 0 and 1"),
        (lambda: objectives.PPO(lam=-0.5), "lam must be between 0 and 1"),
        (lambda: objectives.PPO(beta=-1.0), "beta must be a number of 0 or more"),
        (lambda: objectives.PPO(kl_target=0.0), "kl_target must be a positive number"),
        (lambda: objectives.PPO(kl_horizon=0), "kl_horizon must be a positive number"),
        (lambda: objectives.PPO(beta=0, kl_target=1.0), "kl_target has no effect"),
        (lambda: objectives.BradleyTerry(-1.0), "margin must be a number of 0 or more"),
        (lambda: objectives.PRO(-1.0), "sft_weight must be a number of 0 or more"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@named
def test_rewards_of_the_split_are_asked_for_where_they_are_read(objective):
    reads = type(objective).fitted_to is not objectives.Objective.fitted_to
    assert objective.needs.split_rewards == reads


@named
def test_what_is_fitted_is_fitted_once(objective):
    rewards = np.array([-2.0, 0.5, 1.0])
    fitted = type(objective)().fitted_to(rewards)
    assert fitted.fitted_to(rewards) is fitted
    if not objective.needs.split_rewards:
        assert fitted == type(objective)()
        assert fitted.told_of_fit(rewards) is None


@named
def test_values_of_prompts_are_said_by_who_needs_them(objective):
    arguments = jnp.zeros(2), jnp.ones(2), jnp.zeros(2, jnp.int32)
    samples = jnp.ones((3, 2))
    if objective.needs.prompt_values:
        for found in (
            objective.values_of_prompts(*arguments),
            objective.values_of_samples(samples),
        ):
            np.testing.assert_allclose(found, 1, rtol=1e-6)
    elif not type(objective)().needs.prompt_values:
        with pytest.raises(NotImplementedError, match="values_of_prompts"):
            objective.values_of_prompts(*arguments)
        with pytest.raises(NotImplementedError, match="values_of_samples"):
            objective.values_of_samples(samples)


@named
def test_what_samples_were_worth_is_said_by_who_needs_it(objective):
    tokens, per_token = jnp.ones((3, T)), jnp.full((3, T), -1.0)
    rollouts = objectives.Rollouts(
        jnp.ones(3), jnp.ones(3), tokens, per_token, per_token, jnp.zeros((3, T))
    )
    if objective.needs.rollouts:
        for found in objective.of_rollouts(rollouts):
            assert found.shape == (3, T) and jnp.isfinite(found).all()
    else:
        with pytest.raises(NotImplementedError, match="of_rollouts"):
            objective.of_rollouts(rollouts)


def test_what_is_shared_is_no_objective():
    with pytest.raises(TypeError, match="abstract"):
        Labelled()
