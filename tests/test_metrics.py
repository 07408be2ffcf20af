import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax import metrics


def draws(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).astype(np.float32)
    y = (0.5 * x + rng.normal(size=n)).astype(np.float32)
    weights = (rng.random(n) > 0.3).astype(np.float32)
    return x, y, weights


def build(x, y, weights):
    x, y, weights = map(jnp.asarray, (x, y, weights))
    return {
        "mean": metrics.Mean.of(x, weights),
        "sum": metrics.Sum(jnp.sum(x * weights)),
        "largest": metrics.Largest.of(jnp.abs(x), weights),
        "correlation": metrics.Correlation.of(x, y, weights),
        "explained": metrics.ExplainedVariance.of(x, y, weights),
    }


def test_equal_numpy_on_the_weighted_part():
    x, y, weights = draws()
    kept = weights > 0
    values = metrics.compute(build(x, y, weights))
    np.testing.assert_allclose(values["mean"], x[kept].mean(), rtol=1e-5)
    np.testing.assert_allclose(values["sum"], x[kept].sum(), rtol=1e-5)
    assert values["largest"] == np.abs(x[kept]).max()
    expected = np.corrcoef(x[kept], y[kept])[0, 1]
    np.testing.assert_allclose(values["correlation"], expected, rtol=1e-4)
    explained = 1 - np.var(x[kept] - y[kept]) / np.var(x[kept])
    np.testing.assert_allclose(values["explained"], explained, rtol=1e-4)


def test_merged_parts_equal_the_whole():
    x, y, weights = draws()
    parts = [build(x[s], y[s], weights[s]) for s in (slice(0, 7), slice(7, None))]
    whole = metrics.compute(build(x, y, weights))
    for name, value in metrics.compute(metrics.merge(*parts)).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-4)


def test_undefined_is_nan_and_not_zero():
    zeros = np.zeros(4, np.float32)
    values = metrics.compute(build(zeros, zeros, zeros))
    assert np.isnan(values["mean"])
    constant = metrics.compute(build(zeros + 3, draws(4)[1], zeros + 1))
    assert np.isnan(constant["correlation"])
    assert np.isnan(constant["explained"])


def far_from_zero(mean, batches=60):
    """Rewards of standard deviation 1 about `mean`, of which V explains 3/4."""
    rng = np.random.default_rng(1)
    explained, rest = rng.normal(size=(2, batches, 64)) * np.sqrt([[[0.75]], [[0.25]]])
    weights = (rng.random((batches, 64)) > 0.2).astype(np.float32)
    weights[7] = 0  # a batch of nothing but padding
    rewards = (mean + explained + rest).astype(np.float32)
    return rewards, (mean + explained).astype(np.float32), weights


def on_device(parts):
    """As microbatches add up: from zeros, in one program."""

    def body(total, part):
        return metrics.add(total, build(*part)), None

    zeros = jax.tree.map(lambda x: 0 * x, build(*(x[0] for x in parts)))
    return jax.jit(lambda parts: jax.lax.scan(body, zeros, parts)[0])(parts)


def on_host(parts):
    """As a log's window adds up steps."""
    each = map(metrics.to_host, map(build, *parts))
    return functools.reduce(metrics.merge, each)


@pytest.mark.parametrize("merged", [on_device, on_host])
@pytest.mark.parametrize("mean", [0.0, 1000.0, -5000.0, 50000.0])
def test_second_moments_stand_any_mean(mean, merged):
    rewards, values, weights = far_from_zero(mean)
    found = metrics.compute(merged((rewards, values, weights)))
    # float32 itself rounds rewards about 50,000 to 1/256.
    rewards, values = rewards.astype(np.float64), values.astype(np.float64)
    kept = weights > 0
    explained = 1 - np.var((rewards - values)[kept]) / np.var(rewards[kept])
    assert found["explained"] == pytest.approx(explained, abs=1e-4)
    assert found["explained"] == pytest.approx(0.75, abs=0.02)
    correlation = np.corrcoef(rewards[kept], values[kept])[0, 1]
    assert found["correlation"] == pytest.approx(correlation, abs=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale):
    x, y, weights = draws()
    found = metrics.compute(
        build(np.float32(scale) * x, np.float32(scale) * y, weights)
    )
    wanted = metrics.compute(build(x, y, weights))
    for name in ("correlation", "explained"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-4)


def test_what_is_constant_stays_so_when_merged():
    third = np.full(7, 5000 + 1 / 3, np.float32)
    parts = [build(third[:n], draws(n)[1], np.ones(n, np.float32)) for n in range(1, 8)]
    values = metrics.compute(functools.reduce(metrics.merge, parts))
    assert np.isnan(values["correlation"]) and np.isnan(values["explained"])


def test_json_gives_back_the_same_bits():
    window = on_host(far_from_zero(1000.0, batches=9))
    saved = json.loads(json.dumps(metrics.to_json(window)))
    read = metrics.from_json(saved)
    assert read == window
    assert all(type(x) is np.float64 for x in jax.tree.leaves(read))


def test_windows_of_raw_moments_are_read():
    # What versions before wrote for x = 1, 2, 4 and y = 2, 2, 5, and for r − V = x − y.
    earlier = {
        "correlation": {
            "kind": "Correlation",
            "weight": 3.0, "x": 7.0, "y": 9.0, "xx": 21.0, "yy": 33.0, "xy": 26.0,
        },
        "explained": {
            "kind": "ExplainedVariance",
            "weight": 3.0, "target": 7.0, "target_squared": 21.0,
            "error": -2.0, "error_squared": 2.0,
        },
        "nothing": {
            "kind": "ExplainedVariance",
            "weight": 0.0, "target": 0.0, "target_squared": 0.0,
            "error": 0.0, "error_squared": 0.0,
        },
    }  # fmt: skip
    x, y = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 5.0])
    values = metrics.compute(metrics.from_json(earlier))
    assert values["correlation"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert values["explained"] == pytest.approx(1 - np.var(x - y) / np.var(x))
    read = metrics.from_json(earlier)
    both = metrics.compute(metrics.merge(read, read | {"nothing": read["explained"]}))
    assert both["nothing"] == both["explained"] == pytest.approx(values["explained"])


def test_metrics_of_other_names_are_not_merged():
    with pytest.raises(ValueError, match="[Kk]ey"):
        metrics.merge(build(*draws()), {"mean": build(*draws())["mean"]})
