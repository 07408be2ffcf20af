"""Losses of pairs through length-averaged log-probabilities, without a reference."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives._paired import over_pairs
from dro_jax.objectives.checks import (
    check_non_negative,
    check_per_trajectory,
    check_positive,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["ORPO", "SimPO", "orpo", "simpo"]

# A response of probability 1 has infinite odds; this holds the logarithm of a mean
# probability at −1e-6, where the log-odds are 13.8.
_LIKELIEST = -1e-6


def simpo(
    chosen_mean_logprobs: jax.Array,
    rejected_mean_logprobs: jax.Array,
    *,
    beta: float,
    gamma: float,
) -> jax.Array:
    """Simple preference optimisation: DPO of length-averaged log-probabilities.

    ``−log σ(β (s_w − s_l) − γ)``, w the chosen and l the rejected response of one
    prompt and ``s = log π_θ(y|x) / |y|``.

    Source: arXiv 2405.14734; its code takes γ/β for its setting. Averaged by
    definition: no sum over tokens here.

    Args:
      chosen_mean_logprobs: ``[N]`` float32 s_w, nats.
      rejected_mean_logprobs: ``[N]`` s_l.
      beta: inverse temperature, per nat.
      gamma: the margin that is asked for, log-odds.

    Returns:
      ``[N]`` losses, one a pair, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, beta not positive, or gamma
        negative.
    """
    check_per_trajectory(
        chosen_mean_logprobs=chosen_mean_logprobs,
        rejected_mean_logprobs=rejected_mean_logprobs,
    )
    check_positive(beta=beta)
    check_non_negative(gamma=gamma)
    margins = chosen_mean_logprobs - rejected_mean_logprobs
    return -jax.nn.log_sigmoid(beta * margins - gamma)


def orpo(
    chosen_mean_logprobs: jax.Array,
    rejected_mean_logprobs: jax.Array,
    *,
    odds_weight: float,
) -> jax.Array:
    """Odds-ratio preference optimisation: likelihood of the chosen, and odds above.

    ``−s_w − λ log σ(log odds(s_w) − log odds(s_l))``, ``odds(s) = e^s / (1 − e^s)`` and
    ``s = log π_θ(y|x) / |y|``, w the chosen and l the rejected response of one prompt.

    Source: arXiv 2403.07691. Its likelihood is a mean over tokens too; the authors'
    code takes it over all tokens of a batch, here it is a response's own. s is held at
    −1e-6 in the odds, which are infinite at 0.

    Args:
      chosen_mean_logprobs: ``[N]`` float32 s_w, nats.
      rejected_mean_logprobs: ``[N]`` s_l.
      odds_weight: λ.

    Returns:
      ``[N]`` losses, one a pair, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or odds_weight negative.
    """
    check_per_trajectory(
        chosen_mean_logprobs=chosen_mean_logprobs,
        rejected_mean_logprobs=rejected_mean_logprobs,
    )
    check_non_negative(odds_weight=odds_weight)
    ratios = _log_odds(chosen_mean_logprobs) - _log_odds(rejected_mean_logprobs)
    return -chosen_mean_logprobs - odds_weight * jax.nn.log_sigmoid(ratios)


def _log_odds(mean_logprobs):
    """``s − log(1 − e^s)``."""
    held = jnp.minimum(mean_logprobs, _LIKELIEST)
    return held - jnp.log(-jnp.expm1(held))


def _mean_logprobs(trajectories: Trajectories) -> jax.Array:
    """``[N]`` log π_θ(y|x) / |y|."""
    check_per_trajectory(policy_logprobs=trajectories.policy_logprobs)
    return trajectories.policy_logprobs / jnp.maximum(trajectories.lengths, 1.0)


@dataclasses.dataclass(frozen=True)
class SimPO(Objective):
    """:func:`simpo` as an objective, over pairs as :class:`DPO`.

    Attributes:
      beta: inverse temperature, per nat (the paper: 2 to 10).
      gamma: the margin that is asked for, log-odds (the paper: 0.1 to 0.8 of beta).
    """

    beta: float = 2.0
    gamma: float = 1.0
    needs: ClassVar[Needs] = Needs(groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="no reference in it: tends to the best response",
        family="lists",
    )

    def __post_init__(self):
        check_positive(beta=self.beta)
        check_non_negative(gamma=self.gamma)

    def __call__(self, trajectories: Trajectories) -> Losses:
        loss = functools.partial(simpo, beta=self.beta, gamma=self.gamma)
        means = _mean_logprobs(trajectories)
        return over_pairs(loss, trajectories, means, implicit=self.beta * means)


@dataclasses.dataclass(frozen=True)
class ORPO(Objective):
    """:func:`orpo` as an objective, over pairs as :class:`DPO`.

    Attributes:
      odds_weight: λ, the weight of the odds ratio beside the likelihood (the paper: 0.1
        to 0.25).
    """

    odds_weight: float = 0.1
    needs: ClassVar[Needs] = Needs(groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="no reference in it: what is chosen, the better the likelier",
        family="lists",
    )

    def __post_init__(self):
        check_non_negative(odds_weight=self.odds_weight)

    def __call__(self, trajectories: Trajectories) -> Losses:
        loss = functools.partial(orpo, odds_weight=self.odds_weight)
        means = _mean_logprobs(trajectories)
        return over_pairs(loss, trajectories, means, implicit=means)
