"""Each formula against its float64 loop: value, gradient, stops, padding, errors."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_formulas import CASES, LENGTHS, RANKED, K, N, T

from dro_jax.objectives import registry

PER_TOKEN = (
    *("token_values", "old_values", "old_token_values"),
    *("returns", "token_returns", "token_advantages"),
)
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def draw(name, rng):
    if name in ("token_weights", "list_weights"):
        lengths, width = (LENGTHS, T) if name == "token_weights" else (RANKED, K)
        return (np.arange(width) < np.array(lengths)[:, None]).astype(np.float32)
    if name == "desirable":
        return np.array([True, False, False, True, False])
    if name in ("kl", "shift"):
        return np.float32(0.4)
    if name.startswith(("token_log", "old_token_log", "reference_token")):
        return padded(-2 * rng.random((N, T)), LENGTHS)
    if name in PER_TOKEN:
        return padded(0.3 * rng.normal(size=(N, T)), LENGTHS)
    if name in ("mean_logprobs", "list_logprobs", "list_reference_logprobs"):
        return padded(-2 * rng.random((N, K)), RANKED)
    if name == "list_rewards":
        return padded(-np.sort(rng.normal(size=(N, K))), RANKED)
    if name in ("best_nll", "quantiles"):
        return rng.random(N).astype(np.float32)
    if name.endswith("logprobs"):
        return (-2 * rng.random(N)).astype(np.float32)
    return rng.normal(size=N).astype(np.float32)


def padded(values, lengths):
    """What stands at padding is never read, be it −inf or NaN."""
    values = values.astype(np.float32)
    for row, length in enumerate(lengths):
        values[row, length:] = (-np.inf, np.nan)[row % 2]
    return values


def draw_all(case, seed=0):
    rng = np.random.default_rng(seed)
    return {name: draw(name, rng) for name in case.names}


def slow_losses(case, arrays, frozen):
    a, s = (
        types.SimpleNamespace(
            **{k: v if v.dtype == bool else v.astype(np.float64) for k, v in x.items()}
        )
        for x in (arrays, frozen)
    )
    return np.array([case.slow(i, a, s) for i in range(N)])


COTANGENTS = np.array([1.0, -0.5, 2.0, 0.25, -1.5], np.float32)


def gradients(case, arrays):
    """By name, of a sum in which every loss has a weight of its own."""
    floats = [i for i, n in enumerate(case.names) if arrays[n].dtype != bool]

    def loss(*values):
        return jnp.sum(case(*values) * COTANGENTS)

    values = [jnp.asarray(array) for array in arrays.values()]
    found = jax.grad(loss, argnums=floats)(*values)
    return {case.names[i]: np.asarray(g) for i, g in zip(floats, found, strict=True)}


def test_no_objective_is_without_its_formula():
    assert set(registry.kinds()) <= {case.name for case in CASES}


@cases
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_equal_the_loop(case, seed):
    arrays = draw_all(case, seed)
    losses = case(*map(jnp.asarray, arrays.values()))
    assert losses.shape == (N,) and losses.dtype == jnp.float32
    np.testing.assert_allclose(
        losses, slow_losses(case, arrays, arrays), rtol=1e-5, atol=1e-6
    )


@cases
def test_gradients_are_numerical_and_stopped_ones_exactly_zero(case):
    arrays = draw_all(case)
    found = gradients(case, arrays)
    for name, gradient in found.items():
        if name not in case.live.split():
            np.testing.assert_array_equal(gradient, 0, err_msg=name)
            continue
        assert np.any(gradient != 0)
        for index in np.ndindex(gradient.shape):
            if not np.isfinite(arrays[name][index]):
                assert gradient[index] == 0
                continue
            sides = []
            for step in (1e-6, -1e-6):
                moved = arrays | {name: arrays[name].astype(np.float64)}
                moved[name][index] += step
                sides.append(slow_losses(case, moved, arrays) @ COTANGENTS)
            slope = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(gradient[index], slope, rtol=1e-4, atol=1e-5)


@cases
def test_jit_and_vmap_give_the_same_losses(case):
    batches = [[jnp.asarray(x) for x in draw_all(case, s).values()] for s in (0, 1)]
    stacked = [jnp.stack(pair) for pair in zip(*batches, strict=True)]
    mapped = jax.jit(jax.vmap(case))(*stacked)
    for losses, batch in zip(mapped, batches, strict=True):
        np.testing.assert_allclose(losses, case(*batch), rtol=2e-6, atol=1e-6)


@cases
def test_log_probabilities_of_thousands_stay_finite(case):
    arrays = draw_all(case)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        for name, array in arrays.items():
            if "logprobs" in name:
                extreme = rng.choice([0.0, -50.0, -5000.0], array.shape)
                arrays[name] = np.where(np.isfinite(array), extreme, array).astype("f4")
        assert np.isfinite(case(*map(jnp.asarray, arrays.values()))).all()
        for name, gradient in gradients(case, arrays).items():
            assert np.isfinite(gradient).all(), name


@cases
def test_wrong_types_and_shapes_are_refused(case):
    arrays = {name: jnp.asarray(x) for name, x in draw_all(case).items()}
    for name, array in arrays.items():
        kind = "must be boolean" if name == "desirable" else "must be float32"
        with pytest.raises(TypeError, match=kind):
            case(*(arrays | {name: jnp.zeros(array.shape, jnp.bfloat16)}).values())
        with pytest.raises(ValueError, match="got shape"):
            case(*(arrays | {name: array[..., None]}).values())
        if array.ndim and len(arrays) > 1:
            with pytest.raises(ValueError, match="one shape|one length"):
                case(*(arrays | {name: array[:3]}).values())


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in CASES for name in case.hyper],
    ids=lambda x: x if isinstance(x, str) else x.name,
)
def test_hyperparameters_out_of_range_are_refused(case, name):
    arrays = [jnp.asarray(x) for x in draw_all(case).values()]
    for wrong in (-0.5, float("nan"), float("inf")):
        broken = dataclasses.replace(case, hyper=case.hyper | {name: wrong})
        with pytest.raises(ValueError, match=f"{name} must be .*, got {wrong}"):
            broken(*arrays)
