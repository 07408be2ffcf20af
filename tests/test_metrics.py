import jax.numpy as jnp
import numpy as np

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
        "correlation": metrics.Correlation.of(x, y, weights),
        "explained": metrics.ExplainedVariance.of(x, y, weights),
    }


def test_equal_numpy_on_the_weighted_part():
    x, y, weights = draws()
    kept = weights > 0
    values = metrics.compute(build(x, y, weights))
    np.testing.assert_allclose(values["mean"], x[kept].mean(), rtol=1e-5)
    np.testing.assert_allclose(values["sum"], x[kept].sum(), rtol=1e-5)
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
