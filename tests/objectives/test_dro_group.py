"""DRO with V from the group at hand (formula: test_formulas.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.objectives import a_star_po, dro, dro_group, dro_p, sampled_values

TAU = 0.5


def draw(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def group(n=2, k=4):
    return draw(n, k) - 3, draw(n, k, seed=1) - 3, draw(n, k, seed=2)


def test_golden():
    # ℓ = (1, 0), r = (1, 0): r − τℓ = (½, 0), V̂ = ¼, so ½ (¼)² twice, of which the mean.
    arrays = [jnp.array([x]) for x in ([-2.0, -3.0], [-3.0, -3.0], [1.0, 0.0])]
    np.testing.assert_allclose(dro_group(*arrays, tau=TAU), [1 / 32], rtol=1e-6)
    # V̂ = ½ log((e² + 1)/2), residuals ½ − V̂ and −V̂.
    value = 0.5 * np.log((np.exp(2) + 1) / 2)
    np.testing.assert_allclose(
        dro_group(*arrays, tau=TAU, group_value="rewards"),
        [((0.5 - value) ** 2 + value**2) / 4],
        rtol=1e-5,
    )


def test_of_one_prompt_it_is_dro_p_in_value_and_gradient():
    arrays = group(n=1, k=6)
    flat = [x[0] for x in arrays]
    mine, theirs = (
        jax.value_and_grad(lambda p, rest=rest, f=f: jnp.mean(f(p, *rest, tau=TAU)))(p)
        for f, (p, *rest) in ((dro_group, arrays), (dro_p, flat))
    )
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(mine[1][0], theirs[1], rtol=1e-4, atol=1e-7)


def test_it_is_dro_with_the_value_of_the_group_fixed():
    policy, reference, rewards = group()
    values = jnp.mean(rewards - TAU * (policy - reference), axis=1)
    found = dro_group(policy, reference, rewards, tau=TAU)
    expected = dro(
        *(x.reshape(-1) for x in (policy, reference, rewards)),
        jnp.repeat(values, 4),
        tau=TAU,
    )
    np.testing.assert_allclose(found, expected.reshape(2, 4).mean(1), rtol=1e-5)


def test_of_rewards_it_is_half_a_star_po_of_the_groups_own_samples():
    policy, reference, rewards = group()
    found = dro_group(policy, reference, rewards, tau=TAU, group_value="rewards")
    expected = a_star_po(
        *(x.reshape(-1) for x in (policy, reference, rewards)),
        jnp.repeat(sampled_values(rewards, tau=TAU), 4),
        tau=TAU,
    )
    np.testing.assert_allclose(found, expected.reshape(2, 4).mean(1) / 2, rtol=1e-5)


def test_no_residual_at_the_optimum_whichever_responses_are_at_hand():
    rng = np.random.default_rng(0)
    reference, rewards = rng.dirichlet(np.ones(8)), rng.normal(size=8)
    optimum = reference * np.exp(rewards / TAU)
    optimum /= optimum.sum()
    shown = [[0, 3], [5, 1], [7, 2]]
    arrays = (np.log(optimum), np.log(reference), rewards)
    arrays = [jnp.asarray(x[np.array(shown)], jnp.float32) for x in arrays]
    np.testing.assert_allclose(dro_group(*arrays, tau=TAU), 0, atol=1e-10)


@pytest.mark.parametrize("group_value", ["residuals", "rewards"])
def test_a_group_of_one_teaches_nothing(group_value):
    arrays = group(n=2, k=1)
    np.testing.assert_array_equal(
        dro_group(*arrays, tau=TAU, group_value=group_value), 0
    )
    arrays, weights = group(n=1, k=3), jnp.array([[1.0, 0.0, 0.0]])
    slopes = jax.grad(
        lambda policy: jnp.sum(
            dro_group(
                policy, *arrays[1:], tau=TAU, group_value=group_value, weights=weights
            )
        )
    )(arrays[0])
    np.testing.assert_array_equal(slopes, 0)


def test_missing_responses_make_the_group_smaller():
    arrays = group(n=1, k=4)
    weights = jnp.array([[1.0, 1.0, 1.0, 0.0]])
    gone = [x.at[0, 3].set(jnp.nan) for x in arrays]
    for group_value in ("residuals", "rewards"):
        found = dro_group(*gone, tau=TAU, group_value=group_value, weights=weights)
        kept = [x[:, :3] for x in arrays]
        np.testing.assert_allclose(
            found, dro_group(*kept, tau=TAU, group_value=group_value), rtol=1e-6
        )


def test_another_value_is_refused():
    with pytest.raises(ValueError, match="'residuals' or 'rewards', got 'mean'"):
        dro_group(*group(), tau=TAU, group_value="mean")
