"""Metrics as sums: merged exactly over microbatches, steps and hosts, divided once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


def _metric(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@_metric
class Mean:
    """Σ(x·w) / Σ(w)."""

    total: jax.Array
    weight: jax.Array

    @classmethod
    def of(cls, values: jax.Array, weights: jax.Array) -> "Mean":
        """From arrays of one shape."""
        return cls(total=jnp.sum(values * weights), weight=jnp.sum(weights))

    def compute(self) -> float:
        """The mean, or NaN where nothing was counted."""
        return _ratio(float(self.total), float(self.weight))


@_metric
class Sum:
    """Σ x, for counts."""

    total: jax.Array

    def compute(self) -> float:
        """The sum."""
        return float(self.total)


@_metric
class Correlation:
    """Pearson's correlation of two quantities, from their weighted moments."""

    weight: jax.Array
    x: jax.Array
    y: jax.Array
    xx: jax.Array
    yy: jax.Array
    xy: jax.Array

    @classmethod
    def of(cls, x: jax.Array, y: jax.Array, weights: jax.Array) -> "Correlation":
        """From arrays of one shape."""
        total = lambda values: jnp.sum(values * weights)
        return cls(
            weight=jnp.sum(weights),
            x=total(x),
            y=total(y),
            xx=total(x * x),
            yy=total(y * y),
            xy=total(x * y),
        )

    def compute(self) -> float:
        """The correlation, or NaN where either quantity is constant."""
        n = float(self.weight)
        x, y = _ratio(float(self.x), n), _ratio(float(self.y), n)
        variance_x = _ratio(float(self.xx), n) - x * x
        variance_y = _ratio(float(self.yy), n) - y * y
        covariance = _ratio(float(self.xy), n) - x * y
        if not (variance_x > 1e-9 and variance_y > 1e-9):
            return float("nan")
        return covariance / (variance_x * variance_y) ** 0.5


@_metric
class ExplainedVariance:
    """1 − Var(target − prediction) / Var(target), from weighted moments."""

    weight: jax.Array
    target: jax.Array
    target_squared: jax.Array
    error: jax.Array
    error_squared: jax.Array

    @classmethod
    def of(
        cls, targets: jax.Array, predictions: jax.Array, weights: jax.Array
    ) -> "ExplainedVariance":
        """From arrays of one shape."""
        errors = targets - predictions
        total = lambda values: jnp.sum(values * weights)
        return cls(
            weight=jnp.sum(weights),
            target=total(targets),
            target_squared=total(targets * targets),
            error=total(errors),
            error_squared=total(errors * errors),
        )

    def compute(self) -> float:
        """The share in (−∞, 1], or NaN where the target is constant."""
        n = float(self.weight)
        target, error = _ratio(float(self.target), n), _ratio(float(self.error), n)
        target_variance = _ratio(float(self.target_squared), n) - target * target
        error_variance = _ratio(float(self.error_squared), n) - error * error
        if not target_variance > 1e-9:
            return float("nan")
        return 1.0 - error_variance / target_variance


Metrics = dict[str, Mean | Sum | Correlation | ExplainedVariance]


def merge(first: Metrics, second: Metrics) -> Metrics:
    """The metrics of both parts together."""
    return jax.tree.map(jnp.add, first, second)


def compute(metrics: Metrics) -> dict[str, float]:
    """Plain numbers, after one transfer from the device."""
    return {name: m.compute() for name, m in jax.device_get(metrics).items()}


def to_json(metrics: Metrics) -> dict[str, dict]:
    """Sums as plain values, exactly; call it on host arrays."""
    return {
        name: {"kind": type(metric).__name__}
        | {field: float(x) for field, x in vars(metric).items()}
        for name, metric in metrics.items()
    }


def from_json(values: dict[str, dict]) -> Metrics:
    """From what :func:`to_json` gave, as float32.

    Raises:
      KeyError, TypeError: the values are of another version.
    """
    kinds = {cls.__name__: cls for cls in (Mean, Sum, Correlation, ExplainedVariance)}
    return {
        name: kinds[fields["kind"]](
            **{field: np.float32(x) for field, x in fields.items() if field != "kind"}
        )
        for name, fields in values.items()
    }


def _ratio(total: float, weight: float) -> float:
    return total / weight if weight else float("nan")
