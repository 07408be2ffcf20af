"""Logistic regressions on a constant and one feature, exact, many at a time.

    argmin_w  |w₀| + |w₁| + C·Σ_l [ s_l·log(1 + exp(-z_l)) + f_l·log(1 + exp(z_l)) ]

with z_l = w₀ + w₁·x_l, where x_l is the l-th value of the feature, and s_l and f_l how much
was won and lost at it: a label y in [0, 1] adds y to the one and 1 - y to the other.

Newton's method, in which the quadratic model keeps the absolute values (Lee, Sun and
Saunders 2014, "Proximal Newton-type methods", https://arxiv.org/abs/1206.1623): with two
unknowns its minimum is found exactly, by trying the signs that they can have.
"""

import itertools

import numpy as np

_SIGNS = tuple(itertools.product((-1.0, 0.0, 1.0), repeat=2))
_MOST_STEPS = 200


def cross_entropy(
    coefficients: np.ndarray, feature: np.ndarray, won: np.ndarray, lost: np.ndarray
) -> np.ndarray:
    """Σ_l [s_l·log(1 + exp(-z_l)) + f_l·log(1 + exp(z_l))], nats.

    Args:
      coefficients: ``[B, 2]`` of the constant and of the feature.
      feature: ``[L]`` its values.
      won: ``[B, L]`` s, the sum of labels at each.
      lost: ``[B, L]`` f, the sum of what they lack of 1.

    Returns:
      ``[B]``.
    """
    logits = coefficients[:, :1] + coefficients[:, 1:] * feature
    # One logarithm gives both, and neither as a difference of large numbers.
    shared = np.log1p(np.exp(-np.abs(logits)))
    high = np.maximum(logits, 0)
    return np.sum(won * (high - logits + shared) + lost * (high + shared), axis=1)


def fit(
    feature: np.ndarray,
    won: np.ndarray,
    lost: np.ndarray,
    strength: float,
    *,
    start: np.ndarray,
    tolerance: float = 1e-10,
) -> np.ndarray:
    """Coefficients of B regressions.

    Args:
      feature: ``[L]`` its values.
      won: ``[B, L]`` s, the sum of labels at each.
      lost: ``[B, L]`` f, the sum of what they lack of 1.
      strength: C, the weight of the data against the penalty.
      start: ``[B, 2]`` where to start.
      tolerance: the last step, against the size of the coefficients.

    Returns:
      ``[B, 2]`` of the constant and of the feature.

    Raises:
      ArithmeticError: a regression did not converge, which finite data cannot cause.
    """
    found = start.copy()
    rows = np.arange(len(found))  # those that still move
    for _ in range(_MOST_STEPS):
        data = feature, won[rows], lost[rows], strength
        before = found[rows]
        gradient, hessian = _derivatives(before, *data)
        step = _best_step(before, gradient, hessian)
        promised = (
            np.sum(gradient * step, 1)
            + np.abs(before + step).sum(1)
            - np.abs(before).sum(1)
        )
        found[rows] = _searched(before, step, promised, *data)
        size = np.abs(before).sum(1)
        moved = np.abs(step).max(1) > tolerance * (1 + size)
        # Where constant and feature cannot be told apart, steps along their valley gain
        # nothing: any of its points is a minimum.
        moved &= promised < -1e-15 * (1 + size)
        rows = rows[moved]
        if not rows.size:
            return found
    raise ArithmeticError(f"{rows.size} logistic regressions did not converge")


def _derivatives(w, feature, won, lost, strength):
    """Gradient ``[B, 2]`` and Hessian ``[B, 2, 2]`` of the data's part."""
    logits = w[:, :1] + w[:, 1:] * feature
    odds = np.exp(-np.abs(logits))
    rare = odds / (1 + odds)  # the less likely of win and loss
    likely = logits >= 0
    win, loss = np.where(likely, 1 - rare, rare), np.where(likely, rare, 1 - rare)
    slope = lost * win - won * loss
    bend = (won + lost) * win * loss
    powers = np.stack([np.ones_like(feature), feature, feature**2])
    gradient = strength * slope @ powers[:2].T
    moments = strength * bend @ powers.T
    hessian = moments[:, [[0, 1], [1, 2]]]
    # Constant and feature may be one and the same, or bend in no number's reach: enough
    # that a step exists, and too little to slow it.
    floor = 1e-12 + 1e-10 * np.trace(hessian, axis1=1, axis2=2)
    return gradient, hessian + floor[:, None, None] * np.eye(2)


def _best_step(w, gradient, hessian):
    """The step to the minimum of the quadratic model with the penalty, ``[B, 2]``."""
    # The model in v = w + step: ½ vᵀHv + bᵀv + |v|.
    b = gradient - np.einsum("bij,bj->bi", hessian, w)
    best, least = np.zeros_like(w), np.zeros(len(w))  # v = 0 costs 0
    for signs in _SIGNS[:4] + _SIGNS[5:]:
        v = _stationary(hessian, b + signs, np.array(signs) != 0)
        cost = (
            0.5 * np.einsum("bi,bij,bj->b", v, hessian, v)
            + np.sum(b * v + np.abs(v), axis=1)
        )  # fmt: skip
        better = cost < least
        best[better], least[better] = v[better], cost[better]
    return best - w


def _stationary(hessian, slope, free):
    """Where ½ vᵀHv + slopeᵀv is least, of v that are zero outside ``free``."""
    v = np.zeros_like(slope)
    if free.all():
        return np.linalg.solve(hessian, -slope[..., None])[..., 0]
    (place,) = np.flatnonzero(free)
    v[:, place] = -slope[:, place] / hessian[:, place, place]
    return v


def _searched(w, step, promised, feature, won, lost, strength):
    """As much of the step as lowers the objective, halving it where need be."""

    def objective(at, rows):
        data = cross_entropy(at, feature, won[rows], lost[rows])
        return np.abs(at).sum(1) + strength * data

    rows = np.arange(len(w))
    now = objective(w, rows)
    size = np.ones(len(w))
    while rows.size:
        after = objective(w[rows] + size[rows, None] * step[rows], rows)
        # The last digits of the objective are noise, and no reason to halve.
        enough = now + 1e-4 * size * promised + 1e-13 * np.abs(now)
        rows = rows[after > enough[rows]]
        size[rows] /= 2
    return w + size[:, None] * step
