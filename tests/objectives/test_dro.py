"""DRO, DRO-V, DRO-P against hand-derived numbers, slow loops and the closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from dro_jax.objectives import DROV, Trajectories, dro, dro_p, dro_v, nll

TAU = 0.5


def arrays(n=5, seed=0):
    rng = np.random.default_rng(seed)
    draws = (
        -5 * rng.random(n),
        -5 * rng.random(n),
        rng.normal(size=n),
        rng.normal(size=n),
    )
    return tuple(jnp.asarray(x, jnp.float32) for x in draws)


# One trajectory by hand: log π = −2, log π_ref = −3, r = 1, V = 0.25, τ = ½:
# ℓ = 1, residual = 1 − 0.25 − 0.5 = 0.25.
ONE = tuple(jnp.array([x]) for x in (-2.0, -3.0, 1.0, 0.25))


def test_golden_dro():
    np.testing.assert_allclose(dro(*ONE, tau=TAU), [0.5 * 0.25**2], rtol=1e-6)


def test_golden_dro_v():
    policy, value = dro_v(*ONE, tau=TAU)
    np.testing.assert_allclose(policy, [0.25**2 / (2 * TAU)], rtol=1e-6)
    np.testing.assert_allclose(value, [0.5 * 0.25**2], rtol=1e-6)


def test_golden_dro_p():
    # d = r − τℓ = 1 − ½·(1, 3, 5) = (½, −½, −3/2); mean −½; variance 2/3.
    losses = dro_p(jnp.array([1.0, 3.0, 5.0]), jnp.zeros(3), jnp.ones(3), tau=TAU)
    np.testing.assert_allclose(losses, [0.5, 0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(jnp.mean(losses), 0.5 * (2 / 3), rtol=1e-6)


def test_dro_and_dro_v_equal_a_loop():
    policy, reference, rewards, values = arrays()
    joint = dro(policy, reference, rewards, values, tau=TAU)
    policy_losses, value_losses = dro_v(policy, reference, rewards, values, tau=TAU)
    for i in range(len(rewards)):
        ratio = float(policy[i]) - float(reference[i])
        residual = float(rewards[i]) - float(values[i]) - TAU * ratio
        np.testing.assert_allclose(joint[i], 0.5 * residual**2, rtol=1e-4)
        np.testing.assert_allclose(policy_losses[i], residual**2 / (2 * TAU), rtol=1e-4)
        np.testing.assert_allclose(value_losses[i], 0.5 * residual**2, rtol=1e-4)


def test_dro_p_equals_the_numpy_variance():
    policy, reference, rewards, _ = arrays()
    differences = np.asarray(rewards) - TAU * (
        np.asarray(policy) - np.asarray(reference)
    )
    losses = dro_p(policy, reference, rewards, tau=TAU)
    np.testing.assert_allclose(jnp.mean(losses), 0.5 * np.var(differences), rtol=1e-5)


def test_dro_p_weights_are_those_of_the_mean():
    policy, reference, rewards, _ = arrays()
    weights = jnp.array([1.0, 1.0, 0.0, 1.0, 0.0])
    kept = np.flatnonzero(weights)
    whole = dro_p(policy, reference, rewards, tau=TAU, weights=weights)
    part = dro_p(policy[kept], reference[kept], rewards[kept], tau=TAU)
    np.testing.assert_allclose(whole[kept], part, rtol=1e-5)


def test_dro_p_of_nothing_is_finite():
    losses = dro_p(*(jnp.ones(2) for _ in range(3)), tau=TAU, weights=jnp.zeros(2))
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("which", ["dro", "dro_v_policy", "dro_v_value", "dro_p"])
def test_gradients_are_numerical(which):
    policy, reference, rewards, values = arrays()
    functions = {
        "dro": lambda p, v: dro(p, reference, rewards, v, tau=TAU),
        "dro_v_policy": lambda p, v: dro_v(p, reference, rewards, values, tau=TAU)[0],
        "dro_v_value": lambda p, v: dro_v(policy, reference, rewards, v, tau=TAU)[1],
        "dro_p": lambda p, v: dro_p(p, reference, rewards, tau=TAU),
    }
    check_grads(
        lambda p, v: jnp.sum(functions[which](p, v)),
        (policy, values),
        order=1,
        modes=["rev"],
        rtol=2e-2,
        atol=2e-2,
    )


def test_stopped_inputs_get_exactly_no_gradient():
    def losses(p, ref, r, v, index):
        return jnp.sum(dro_v(p, ref, r, v, tau=TAU)[index])

    values = jax.grad(losses, argnums=3)(*arrays(), 0)
    policy = jax.grad(losses, argnums=0)(*arrays(), 1)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(policy, 0)
    assert np.all(jax.grad(losses, argnums=0)(*arrays(), 0) != 0)
    assert np.all(jax.grad(losses, argnums=3)(*arrays(), 1) != 0)


def test_dro_v_policy_gradient_is_the_joint_one_over_tau():
    def joint(p, ref, r, v):
        return jnp.sum(dro(p, ref, r, v, tau=TAU))

    def split(p, ref, r, v):
        return jnp.sum(dro_v(p, ref, r, v, tau=TAU)[0])

    np.testing.assert_allclose(
        jax.grad(split)(*arrays()), jax.grad(joint)(*arrays()) / TAU, rtol=1e-5
    )


def test_dro_p_gradient_is_centred():
    # A constant added to every reward changes no gradient; it does without centring.
    policy, reference, rewards, _ = arrays()
    gradient = jax.grad(lambda p, r: jnp.sum(dro_p(p, reference, r, tau=TAU)))
    np.testing.assert_allclose(
        gradient(policy, rewards), gradient(policy, rewards + 7), rtol=1e-4
    )
    np.testing.assert_allclose(jnp.sum(gradient(policy, rewards)), 0, atol=1e-5)


def test_limit_large_tau_with_v_zero_is_the_squared_log_ratio():
    policy, reference, rewards, values = arrays()
    tau = 1e4
    losses = dro(policy, reference, rewards, jnp.zeros_like(values), tau=tau)
    np.testing.assert_allclose(
        losses / tau**2, 0.5 * jnp.square(policy - reference), rtol=1e-3
    )


def test_limit_at_step_zero_the_gradient_is_advantage_weighted_nll():
    # With π = π_ref, ∇ DRO-V = −(r − V) ∇ log π: NLL weighted by the advantage.
    _, reference, rewards, values = arrays()
    dro_gradient = jax.grad(
        lambda p: jnp.sum(dro_v(p, reference, rewards, values, tau=TAU)[0])
    )(reference)
    nll_gradient = jax.grad(lambda p: jnp.sum((rewards - values) * nll(p)))(reference)
    np.testing.assert_allclose(dro_gradient, nll_gradient, rtol=1e-5)


def closed_form(reference, rewards, tau):
    values = tau * jax.nn.logsumexp(jnp.log(reference) + rewards / tau, axis=-1)
    optimum = reference * jnp.exp((rewards - values[:, None]) / tau)
    return optimum, values


def finite_space(prompts=3, responses=5, seed=0):
    rng = np.random.default_rng(seed)
    reference = jnp.asarray(rng.dirichlet(np.ones(responses), prompts), jnp.float32)
    rewards = jnp.asarray(rng.normal(size=(prompts, responses)), jnp.float32)
    return reference, rewards


def test_limit_zero_residual_at_the_optimum():
    reference, rewards = finite_space()
    optimum, values = closed_form(reference, rewards, TAU)
    np.testing.assert_allclose(jnp.sum(optimum, -1), 1.0, rtol=1e-5)
    losses = dro(
        jnp.log(optimum).ravel(),
        jnp.log(reference).ravel(),
        rewards.ravel(),
        jnp.repeat(values, rewards.shape[1]),
        tau=TAU,
    )
    np.testing.assert_allclose(losses, 0, atol=1e-9)


@pytest.mark.parametrize("which", ["dro", "dro_v"])
@pytest.mark.parametrize("on_reference", [True, False])
def test_reaches_the_closed_form_on_a_finite_space(which, on_reference):
    reference, rewards = finite_space()
    logging = reference if on_reference else jnp.ones_like(reference) / 5
    optimum, best_values = closed_form(reference, rewards, TAU)

    def loss(params):
        policy = jax.nn.log_softmax(params["logits"])
        values = jnp.repeat(params["values"], rewards.shape[1])
        flat = (policy.ravel(), jnp.log(reference).ravel(), rewards.ravel(), values)
        if which == "dro":
            losses = dro(*flat, tau=TAU)
        else:
            losses = sum(dro_v(*flat, tau=TAU))
        return jnp.sum(losses * logging.ravel())

    params = {"logits": jnp.zeros_like(rewards), "values": jnp.zeros(len(rewards))}
    tx = optax.adam(optax.cosine_decay_schedule(0.05, 3000))

    @jax.jit
    def train(params):
        def body(_, carry):
            params, opt_state = carry
            with jax.numpy_dtype_promotion("standard"):
                updates, opt_state = tx.update(jax.grad(loss)(params), opt_state)
            return optax.apply_updates(params, updates), opt_state

        return jax.lax.fori_loop(0, 3000, body, (params, tx.init(params)))[0]

    params = train(params)
    policy = jax.nn.softmax(params["logits"])
    kl = jnp.sum(policy * (jnp.log(policy) - jnp.log(optimum)), axis=-1)
    assert float(jnp.max(kl)) < 1e-3
    assert float(jnp.max(jnp.abs(params["values"] - best_values))) < 1e-2


def test_one_value_per_token_equals_its_mean():
    policy, reference, rewards, _ = arrays(2)
    token_values = jnp.array([0.1, 0.5, 0.9, -1.0])
    batch = Trajectories(
        policy_logprobs=policy,
        rewards=rewards,
        weights=jnp.ones(2),
        reference_logprobs=reference,
        values=token_values,
        value_owners=jnp.array([0, 0, 0, 1], jnp.int32),
        value_weights=jnp.array([1 / 3, 1 / 3, 1 / 3, 1.0], jnp.float32),
    )
    losses = DROV(TAU)(batch)
    expected = 0.0
    for value in (0.1, 0.5, 0.9):
        residual = rewards[0] - value - TAU * (policy[0] - reference[0])
        expected += 0.5 * residual**2 / 3
    np.testing.assert_allclose(losses.value[0], expected, rtol=1e-5)
    np.testing.assert_allclose(losses.policy, losses.value / TAU, rtol=1e-5)


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_tau_must_be_positive(tau):
    with pytest.raises(ValueError, match="tau must be a positive number"):
        dro(*arrays(), tau=tau)
    with pytest.raises(ValueError, match="tau must be a positive number"):
        DROV(tau)


def test_a_column_of_values_is_refused_instead_of_broadcast():
    policy, reference, rewards, values = arrays()
    with pytest.raises(ValueError, match="values must have one entry per trajectory"):
        dro(policy, reference, rewards, values[:, None], tau=TAU)
    with pytest.raises(ValueError, match="one shape"):
        dro(policy, reference, rewards, values[:3], tau=TAU)
