"""Where objectives other than DRO end up, where theory gives it in closed form.

A loss ``−Σ_y c_y log π(y)`` with c ≥ 0 has its minimum at π ∝ c; a regression of the
log-ratio on a target t that differs from the normalised one by a constant has its
minimum at π ∝ π_ref exp(t).
"""

import numpy as np

from dro_jax.objectives.theory import Logged


def optimum(logged: Logged, objective) -> np.ndarray:
    """π*."""
    return logged.optimum


def optimum_without_noise(logged: Logged, objective):
    """π*, unless rewards are noisy."""
    return None if logged.noisy else logged.optimum


def optimum_of_logged_values(logged: Logged, objective) -> np.ndarray | None:
    """Of V̂ = τ log E_μ exp(r/τ), unless that lies above V* somewhere: A*-PO."""
    rewards, tau = logged.rewards, objective.tau
    tilts = np.mean(np.exp(rewards / tau), axis=-1)
    values = np.log(np.sum(logged.logging * tilts, axis=1))
    # V* is what is left of any response's reward.
    log_ratios = np.log(logged.optimum[:, 0] / logged.reference[:, 0])
    errors = values - (np.mean(rewards[:, 0], axis=-1) / tau - log_ratios)
    if np.any(errors > 1e-9):
        return None  # there are several minima then
    return optimum_of_low_values(logged.optimum, logged.logging, np.minimum(errors, 0))


def optimum_of_low_values(
    optimum: np.ndarray, logging: np.ndarray, errors: np.ndarray, samples: float = 0.0
) -> np.ndarray:
    """Where DRO's square stops with V held below V*.

    ``log(π/π*) = −c − a π/μ``, with the number a of each prompt that makes the sum 1: no
    policy has a residual of 0 everywhere, and Lagrange's condition shares it out. Where
    responses are π's own, μ = π, it is π* whatever c is.

    Args:
      optimum: ``[P, Y]`` π*.
      logging: ``[P, Y]`` the log's μ.
      errors: ``[P]`` c = (V − V*)/τ, nats, 0 or less.
      samples: the share of responses that are π's own, without gradient, in place of the
        log's.

    Returns:
      ``[P, Y]``, to the last digits.

    Raises:
      ValueError: a V lies above V*. There can be several minima then.
    """
    if np.any(errors > 0):
        raise ValueError(f"V must lie below V*, and is off by {errors} nats")
    top = -np.asarray(errors)[:, None]

    def shares(x):
        policy = optimum * np.exp(x)
        return policy / ((1 - samples) * logging + samples * policy)

    def tilts(multipliers):
        # x + c + a π/μ rises with x = log(π/π*).
        low, high = top - multipliers * shares(top), np.broadcast_to(top, optimum.shape)
        for _ in range(80):  # bisection
            middle = (low + high) / 2
            above = middle - top + multipliers * shares(middle) > 0
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2

    def masses(multipliers):
        return np.sum(optimum * np.exp(tilts(multipliers)), axis=1, keepdims=True)

    low, high = np.zeros_like(top), np.ones_like(top)
    while np.any(short := masses(high) > 1):
        high = np.where(short, 2 * high, high)
    for _ in range(80):  # bisection: the larger a, the less mass
        middle = (low + high) / 2
        more = masses(middle) > 1
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return _normalized(optimum * np.exp(tilts(high)))


def logging(logged: Logged, objective) -> np.ndarray:
    """μ: NLL."""
    return logged.logging


def weighted_by_reward(logged: Logged, objective) -> np.ndarray:
    """∝ μ r, r positive: weighted behaviour cloning."""
    return _normalized(logged.logging * np.mean(logged.rewards, axis=-1))


def weighted_by_advantage(logged: Logged, objective) -> np.ndarray:
    """∝ μ A₊: A-LoL without the reference."""
    advantages = np.maximum(logged.advantages, 0.0)
    return _normalized(logged.logging * np.mean(advantages, axis=-1))


def weighted_above_baseline(logged: Logged, objective) -> np.ndarray | None:
    """∝ μ (r − V + δ), V the mean reward under μ, if nowhere negative: AsymRE."""
    means = np.mean(logged.rewards, axis=-1)
    values = np.sum(logged.logging * means, axis=1, keepdims=True)
    coefficients = means - values + objective.delta
    if np.any(coefficients < 0):
        return None
    return _normalized(logged.logging * coefficients)


def weighted_exponentially(logged: Logged, objective) -> np.ndarray:
    """∝ μ min(exp(A/β), cap): AWR."""
    weights = np.exp(logged.advantages / objective.beta)
    weights = np.minimum(weights, objective.max_weight)
    return _normalized(logged.logging * np.mean(weights, axis=-1))


def good_by_reward(logged: Logged, objective) -> np.ndarray | None:
    """∝ μ r₊, unless rewards are noisy: TOPR."""
    if logged.noisy:
        return None  # a response that is good in one record and bad in another
    rewards = np.maximum(logged.rewards[..., 0], 0.0)
    return _normalized(logged.logging * rewards)


def pushed_apart(logged: Logged, objective) -> np.ndarray | None:
    """∝ μ (β + α [good]/n₊ − (1 − α) [bad]/n₋), if nowhere negative: PMPO."""
    weights = np.broadcast_to(logged.logging[..., None], logged.rewards.shape)
    good = _good(logged, objective)
    share = np.average(good, weights=weights)
    slopes = np.where(
        good, objective.alpha / share, -(1 - objective.alpha) / (1 - share)
    )
    coefficients = np.mean(objective.beta + slopes, axis=-1)
    if np.any(coefficients < 0):
        return None
    return _normalized(logged.logging * coefficients)


def tilted_by_quantile(logged: Logged, objective) -> np.ndarray:
    """∝ π_ref exp(q/β): what QRPO aims at; exact where rewards were continuous."""
    quantiles = np.mean(logged.quantiles, axis=-1)
    return _normalized(logged.reference * np.exp(quantiles / objective.beta))


def tilted_by_preference(logged: Logged, objective) -> np.ndarray:
    """∝ π_ref exp(P(y ≻ y')/τ), y' ∼ μ: IPO."""
    preferred = np.einsum("pij,pj->pi", logged.wins, logged.logging)
    return _normalized(logged.reference * np.exp(preferred / objective.tau))


def good_by_square_root(logged: Logged, objective) -> np.ndarray:
    """max(0, λ √(μ π_ref d) − π_ref), d = P(good) − P(bad): APO-zero and KTO at z = 0.

    At β = 1 a response's loss is, but for a constant, ``μ d π_ref / (π + π_ref)``. λ makes
    the sum 1. Where μ = π_ref and labels are certain, it is π_ref within the good.
    """
    if objective.beta != 1:
        raise ValueError(f"the closed form is for beta = 1, not {objective.beta}")
    good = _good(logged, objective)
    surplus = np.maximum(2 * np.mean(good, axis=-1) - 1, 0.0)
    reference = logged.reference
    roots = np.sqrt(logged.logging * reference * surplus)
    low, high = np.zeros((len(roots), 1)), np.full((len(roots), 1), 1e6)
    # The sum rises with λ, so 100 halvings find it to the last digit.
    for _ in range(100):  # bisection
        middle = (low + high) / 2
        short = np.maximum(middle * roots - reference, 0.0).sum(1, keepdims=True) < 1
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return _normalized(np.maximum(high * roots - reference, 0.0))


def _good(logged, objective):
    """``[P, Y, C]``: labels above the objective's threshold."""
    threshold = objective.threshold
    if threshold == "batch_mean":
        weights = np.broadcast_to(logged.logging[..., None], logged.rewards.shape)
        threshold = np.average(logged.rewards, weights=weights)
    return logged.rewards > threshold


def _normalized(weights):
    return weights / weights.sum(axis=1, keepdims=True)
