"""Metrics as weighted sums: merged over microbatches, steps and hosts, divided once.

Second moments are kept about the mean, never as Σx²: in float32 ``E[x²] − E[x]²`` has
nothing left of a spread of 1 about a mean of 1,000. Two parts' moments merge as in Chan,
Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
sample variances". A metric of zeros is the empty one: merging it changes nothing.

On the device metrics hold float32, on the host (:func:`to_host`) float64: sums over a
window of steps or a split go on there, and float32 counts to 2²⁴ alone.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.earlier_metrics import EARLIER

# Below this share of its mean, a float32 quantity's spread is its own rounding.
_LEAST_SPREAD = 1e-6


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

    def merge(self, other: "Mean") -> "Mean":
        """That of both parts together."""
        return Mean(self.total + other.total, self.weight + other.weight)

    def compute(self) -> float:
        """The mean, or NaN where nothing was counted."""
        return _ratio(float(self.total), float(self.weight))


@_metric
class Sum:
    """Σ x, for counts."""

    total: jax.Array

    def merge(self, other: "Sum") -> "Sum":
        """That of both parts together."""
        return Sum(self.total + other.total)

    def compute(self) -> float:
        """The sum."""
        return float(self.total)


@_metric
class Largest:
    """max x, of numbers that are 0 or more."""

    largest: jax.Array

    @classmethod
    def of(cls, values: jax.Array, weights: jax.Array) -> "Largest":
        """From arrays of one shape, where the weight is positive; NaN where one is."""
        return cls(largest=jnp.max(jnp.where(weights > 0, values, 0.0)))

    def merge(self, other: "Largest") -> "Largest":
        """That of both parts together."""
        numpy = jnp if isinstance(self.largest, jax.Array) else np
        return Largest(numpy.maximum(self.largest, other.largest))

    def compute(self) -> float:
        """The largest, or 0 where nothing was seen."""
        return float(self.largest)


@_metric
class Correlation:
    """Pearson's correlation of two quantities, from their weighted central moments.

    Attributes:
      weight: Σ(w).
      x_mean, y_mean: the means.
      x_square, y_square, product: Σ(w·dx²), Σ(w·dy²) and Σ(w·dx·dy), with dx and dy the
        distances from the means.
    """

    weight: jax.Array
    x_mean: jax.Array
    y_mean: jax.Array
    x_square: jax.Array
    y_square: jax.Array
    product: jax.Array

    @classmethod
    def of(cls, x: jax.Array, y: jax.Array, weights: jax.Array) -> "Correlation":
        """From arrays of one shape."""
        weight = jnp.sum(weights)
        x_mean, dx = _centred(x, weights, weight)
        y_mean, dy = _centred(y, weights, weight)
        return cls(
            weight=weight,
            x_mean=x_mean,
            y_mean=y_mean,
            x_square=jnp.sum(weights * dx * dx),
            y_square=jnp.sum(weights * dy * dy),
            product=jnp.sum(weights * dx * dy),
        )

    def merge(self, other: "Correlation") -> "Correlation":
        """That of both parts together."""
        share, between = _shares(self.weight, other.weight)
        dx, dy = other.x_mean - self.x_mean, other.y_mean - self.y_mean
        return Correlation(
            weight=self.weight + other.weight,
            x_mean=self.x_mean + share * dx,
            y_mean=self.y_mean + share * dy,
            x_square=self.x_square + other.x_square + between * dx * dx,
            y_square=self.y_square + other.y_square + between * dy * dy,
            product=self.product + other.product + between * dx * dy,
        )

    def compute(self) -> float:
        """The correlation, or NaN where either quantity is constant."""
        m = jax.tree.map(float, self)
        if not (
            _varies(m.weight, m.x_mean, m.x_square)
            and _varies(m.weight, m.y_mean, m.y_square)
        ):
            return float("nan")
        correlation = m.product / (m.x_square**0.5 * m.y_square**0.5)
        return min(max(correlation, -1.0), 1.0)


@_metric
class ExplainedVariance:
    """1 − Var(target − prediction) / Var(target), from weighted central moments.

    Attributes:
      weight: Σ(w).
      target_mean, error_mean: the means.
      target_square, error_square: Σ(w·d²), with d the distances from the means.
    """

    weight: jax.Array
    target_mean: jax.Array
    target_square: jax.Array
    error_mean: jax.Array
    error_square: jax.Array

    @classmethod
    def of(
        cls, targets: jax.Array, predictions: jax.Array, weights: jax.Array
    ) -> "ExplainedVariance":
        """From arrays of one shape."""
        weight = jnp.sum(weights)
        target_mean, d_target = _centred(targets, weights, weight)
        error_mean, d_error = _centred(targets - predictions, weights, weight)
        return cls(
            weight=weight,
            target_mean=target_mean,
            target_square=jnp.sum(weights * d_target * d_target),
            error_mean=error_mean,
            error_square=jnp.sum(weights * d_error * d_error),
        )

    def merge(self, other: "ExplainedVariance") -> "ExplainedVariance":
        """That of both parts together."""
        share, between = _shares(self.weight, other.weight)
        d_target = other.target_mean - self.target_mean
        d_error = other.error_mean - self.error_mean
        return ExplainedVariance(
            weight=self.weight + other.weight,
            target_mean=self.target_mean + share * d_target,
            target_square=self.target_square
            + other.target_square
            + between * d_target * d_target,
            error_mean=self.error_mean + share * d_error,
            error_square=self.error_square
            + other.error_square
            + between * d_error * d_error,
        )

    def compute(self) -> float:
        """The share in (−∞, 1], or NaN where the target is constant."""
        m = jax.tree.map(float, self)
        if not _varies(m.weight, m.target_mean, m.target_square):
            return float("nan")
        return 1.0 - m.error_square / m.target_square


Metric = Mean | Sum | Largest | Correlation | ExplainedVariance
Metrics = dict[str, Metric]
_KINDS = {cls.__name__: cls for cls in (Mean, Sum, Largest, Correlation, ExplainedVariance)}


def add(first: Any, second: Any) -> Any:
    """The sum of two trees of one structure, in which metrics are merged."""
    return jax.tree.map(
        lambda a, b: a.merge(b) if _is_metric(a) else a + b,
        first,
        second,
        is_leaf=_is_metric,
    )


def merge(first: Metrics, second: Metrics) -> Metrics:
    """The metrics of both parts together."""
    return add(first, second)


def to_host(metrics: Any) -> Any:
    """A tree of metrics as float64 on the host, after one transfer from the device."""
    return jax.tree.map(np.float64, jax.device_get(metrics))


def compute(metrics: Metrics) -> dict[str, float]:
    """Plain numbers, after one transfer from the device."""
    return {name: m.compute() for name, m in jax.device_get(metrics).items()}


def to_json(metrics: Metrics) -> dict[str, dict]:
    """The fields as plain values, exactly; call it on host arrays."""
    return {
        name: {"kind": type(metric).__name__}
        | {field: float(x) for field, x in vars(metric).items()}
        for name, metric in metrics.items()
    }


def from_json(values: dict[str, dict]) -> Metrics:
    """From what :func:`to_json` gave, this version's or an earlier one's, as float64.

    Raises:
      KeyError, TypeError: the values are of no known version.
    """
    return {name: _from_fields(**fields) for name, fields in values.items()}


def _from_fields(kind: str, **fields: float) -> Metric:
    earlier = EARLIER.get(kind)
    if earlier is not None and earlier[0] in fields:
        fields = earlier[1](**fields)
    return _KINDS[kind](**{name: np.float64(x) for name, x in fields.items()})


def _is_metric(x: Any) -> bool:
    return isinstance(x, Metric)


def _centred(values, weights, weight):
    """The weighted mean, and the distances from it."""
    weight = jnp.where(weight > 0, weight, 1.0)
    mean = jnp.sum(values * weights) / weight
    # The mean of what is left over mends the rounding of the first sum.
    mean = mean + jnp.sum((values - mean) * weights) / weight
    return mean, values - mean


def _shares(first, second):
    """The second part's share s of the weight, and w₁·s, the weight between means."""
    numpy = jnp if isinstance(first, jax.Array) else np
    total = first + second
    share = second / numpy.where(total > 0, total, 1.0)
    return share, first * share


def _varies(weight: float, mean: float, square: float) -> bool:
    return weight > 0 and square > weight * (_LEAST_SPREAD * mean) ** 2


def _ratio(total: float, weight: float) -> float:
    return total / weight if weight else float("nan")
