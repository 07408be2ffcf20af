"""TBRM and OREO: by hand, token by token from whole vocabularies, and as DRO's kin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax import objectives
from dro_jax.objectives import dro, dro_v, oreo, tbrm


def test_golden_tbrm():
    # ℓ = −2 + 3 = 1, r/β = 1/½ = 2, V = 0.25: (1 + 0.25 − 2)² = 0.75².
    arrays = (jnp.array([x]) for x in (-2.0, -3.0, 1.0, 0.25))
    np.testing.assert_allclose(tbrm(*arrays, beta=0.5), [0.5625], rtol=1e-6)


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def test_tbrm_is_the_sum_of_bellman_residuals_over_whole_vocabularies():
    """The paper's own form: Q is the logits, V their logsumexp, R = r/β + log π_ref."""
    rng = np.random.default_rng(0)
    length, beta, reward = 6, 0.3, 1.7
    logits, reference = rng.normal(size=(2, length, 11))
    tokens, steps = rng.integers(11, size=length), range(length)
    values = np.append(np.logaddexp.reduce(logits, axis=-1), 0.0)
    task = np.append(np.zeros(length - 1), reward) / beta  # at the last token
    modified = task + log_softmax(reference)[steps, tokens]
    residuals = logits[steps, tokens] - modified - values[1:]
    assert np.sum(residuals**2) > 2  # each is there, though their sum knows one V

    def arrays(logits):
        policy = jax.nn.log_softmax(logits)[jnp.arange(length), tokens]
        summed = log_softmax(reference)[steps, tokens].sum()
        given = [jnp.float32([x]) for x in (summed, reward)]
        value = jax.nn.logsumexp(logits[0])
        return policy.sum()[None], *given, value[None]

    def loss(logits):
        return tbrm(*arrays(logits), beta=beta)[0]

    logits32 = jnp.asarray(logits, jnp.float32)
    np.testing.assert_allclose(loss(logits32), residuals.sum() ** 2, rtol=1e-5)
    # Of the residuals themselves: the token's logit up, the next state's value down.
    chances = np.exp(log_softmax(logits))
    slopes = np.eye(11)[tokens] - np.concatenate([chances[:1] * 0, chances[1:]])
    gradient = 2 * residuals.sum() * slopes
    np.testing.assert_allclose(jax.grad(loss)(logits32), gradient, rtol=1e-4, atol=1e-5)


def test_limit_tbrm_is_dro_in_nats():
    rng = np.random.default_rng(1)
    policy, reference, rewards, values = jnp.asarray(rng.normal(size=(4, 5)), "float32")
    beta = 0.4
    np.testing.assert_allclose(
        tbrm(policy, reference, rewards, values, beta=beta),
        dro(policy, reference, rewards, beta * values, tau=beta) * 2 / beta**2,
        rtol=1e-4,
    )


# Two tokens by hand, then padding. ℓ = (0.5, −1), β = ½, r = 1, V = (2, 3).
TWO = {
    "token_logprobs": jnp.array([[-1.0, -3.0, np.nan]]),
    "reference_token_logprobs": jnp.array([[-1.5, -2.0, np.inf]]),
    "token_weights": jnp.array([[1.0, 1.0, 0.0]]),
    "rewards": jnp.array([1.0]),
    "token_values": jnp.array([[2.0, 3.0, np.nan]]),
}


def test_golden_oreo():
    policy, value = oreo(**TWO, beta=0.5, kl_weight=0.1)
    # 2 − 1 + ½(0.5 − 1) = 0.75 and 3 − 1 + ½(−1) = 1.5, squared and averaged: 1.40625.
    np.testing.assert_allclose(value, [1.40625], rtol=1e-6)
    # e^−½ + ½ − 1 = 0.10653066, e^1 − 1 − 1 = 0.71828183; a tenth of their mean is
    # 0.041240624.
    np.testing.assert_allclose(policy, [1.40625 + 0.041240624], rtol=1e-6)


def test_each_token_learns_from_its_own_log_ratio_alone():
    def of_policy(logprobs):
        changed = TWO | {"token_logprobs": logprobs}
        return oreo(**changed, beta=0.5, kl_weight=0.0)[0][0]

    # 2 β · residual / T, the residual of that token: the later one's is not in it.
    found = jax.grad(of_policy)(TWO["token_logprobs"])
    np.testing.assert_allclose(found, [[0.5 * 0.75, 0.5 * 1.5, 0.0]], rtol=1e-6)


def test_limit_oreo_of_one_token_is_dro_v():
    rng = np.random.default_rng(2)
    policy, reference, rewards, values = jnp.asarray(rng.normal(size=(4, 5)), "float32")
    columns = policy[:, None], reference[:, None], jnp.ones((5, 1))
    found = oreo(*columns, rewards, values[:, None], beta=0.4, kl_weight=0.0)
    expected = dro_v(policy, reference, rewards, values, tau=0.4)
    np.testing.assert_allclose(found[0], expected[0] * 2 * 0.4, rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1] * 2, rtol=1e-5)


def test_the_penalty_is_0_at_the_reference_alone():
    ratios = jnp.array([[0.0, 0.5, -0.5]])
    arrays = ratios, ratios * 0, jnp.ones((1, 3)), jnp.zeros(1), jnp.zeros((1, 3))

    def penalty(ratios):
        with_it, without = (
            oreo(ratios, *arrays[1:], beta=1.0, kl_weight=weight)[0][0]
            for weight in (3.0, 0.0)
        )
        return with_it - without

    assert penalty(ratios * 0) == 0
    assert penalty(ratios) > 0
    slopes = jax.grad(penalty)(ratios)[0]
    assert slopes[0] == 0 and slopes[1] > 0 > slopes[2]


@pytest.mark.parametrize("name", ["TBRM", "OREO"])
def test_residuals_of_the_reference_are_its_values_alone(name):
    """At step 0 ℓ = 0: what is left of the residual is r − V."""
    logprobs = jnp.array([[-1.0, -2.0], [-0.5, 0.0]])
    batch = objectives.Trajectories(
        policy_logprobs=jnp.array([-3.0, -0.5]),
        reference_logprobs=jnp.array([-3.0, -0.5]),
        rewards=jnp.array([1.0, -1.0]),
        weights=jnp.ones(2),
        values=jnp.array([0.25, 0.25]),
        token_logprobs=logprobs,
        reference_token_logprobs=logprobs,
        token_weights=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
        token_values=jnp.full((2, 2), 0.25),
    )
    losses = getattr(objectives, name)()(batch)
    np.testing.assert_allclose(abs(losses.terms["residual"]), [0.75, 1.25], rtol=1e-6)
    np.testing.assert_allclose(losses.policy, [0.75**2, 1.25**2], rtol=1e-6)
