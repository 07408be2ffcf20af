"""Advantage-Leftover Lunch (Baheti et al. 2024, arXiv 2305.14718).

The whole response is one action. ``A = r − V_ref(x)``, with V_ref the value of the
frozen reference, and ``A₊ = max(A, 0)``: only trajectories that beat the reference, the
leftover, are learnt from. ``w = π_θ(y|x) / π_ref(y|x)`` corrects for the logging
policy; it enters under the stop-gradient, clamped to [1 − clip, 1 + clip].
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._r_lol import r_lol
from dro_jax.objectives.checks import (
    check_non_negative,
    check_one_length,
    check_per_token,
    check_per_trajectory,
    check_positive,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = [
    "ALoL",
    "ALoLKL",
    "ALoLRefFree",
    "ALoLSeq",
    "a_lol",
    "a_lol_kl",
    "a_lol_ref_free",
    "a_lol_seq",
]


def _positive_part(advantages):
    return jax.lax.stop_gradient(jnp.maximum(advantages, 0.0))


def a_lol(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    advantages: jax.Array,
    *,
    clip: float = 0.9,
) -> jax.Array:
    """A-LoL: the leftover's likelihood, weighted by advantage and importance.

    ``−A₊ · sg(clamp w) · log π_θ(y|x)``

    Source: arXiv 2305.14718, A-LoL.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      advantages: ``[N]`` r − V_ref(x); negative ones count as 0; no gradient flows
        into them.
      clip: w is clamped to [1 − clip, 1 + clip].

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or clip negative.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        advantages=advantages,
    )
    return r_lol(
        policy_logprobs, reference_logprobs, _positive_part(advantages), clip=clip
    )


def a_lol_ref_free(policy_logprobs: jax.Array, advantages: jax.Array) -> jax.Array:
    """A-LoL without importance weights, hence without reference log-probabilities.

    ``−A₊ · log π_θ(y|x)``

    Source: arXiv 2305.14718, A-LoL (ref-free).

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      advantages: ``[N]`` r − V_ref(x); negative ones count as 0; no gradient flows
        into them.

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    check_per_trajectory(policy_logprobs=policy_logprobs, advantages=advantages)
    return -_positive_part(advantages) * policy_logprobs


def a_lol_seq(
    token_logprobs: jax.Array,
    reference_token_logprobs: jax.Array,
    token_weights: jax.Array,
    advantages: jax.Array,
    *,
    clip: float = 0.9,
) -> jax.Array:
    """A-LoL with one importance weight a token in place of one a response.

    ``−A₊ · Σ_t sg(clamp w_t) · log π_θ(y_t)``, ``w_t = π_θ(y_t) / π_ref(y_t)``

    Source: arXiv 2305.14718, A-LoL sequence.

    Args:
      token_logprobs: ``[N, T]`` float32 log π_θ(y_t | x, y_<t), nats.
      reference_token_logprobs: ``[N, T]`` log π_ref(y_t | x, y_<t); no gradient flows
        into it.
      token_weights: ``[N, T]`` 1 for the response's tokens, 0 for padding, whose
        log-probabilities are not read.
      advantages: ``[N]`` r − V_ref(x); negative ones count as 0; no gradient flows
        into them.
      clip: w_t is clamped to [1 − clip, 1 + clip].

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or clip negative.
    """
    check_per_token(
        token_logprobs=token_logprobs,
        reference_token_logprobs=reference_token_logprobs,
        token_weights=token_weights,
    )
    check_per_trajectory(advantages=advantages)
    check_one_length(token_logprobs=token_logprobs, advantages=advantages)
    check_non_negative(clip=clip)
    logprobs = arithmetic.keep_present(token_logprobs, token_weights)
    reference = arithmetic.keep_present(reference_token_logprobs, token_weights)
    weights = arithmetic.importance_weights(
        arithmetic.log_ratios(logprobs, reference), clip
    )
    return -_positive_part(advantages) * arithmetic.sum_over_tokens(
        weights * logprobs, token_weights
    )


def a_lol_kl(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    advantages: jax.Array,
    *,
    beta: float,
) -> jax.Array:
    """A-LoL with a KL penalty in place of importance weights.

    ``−A₊ · log π_θ(y|x) + β ℓ``, ``ℓ = log π_θ(y|x) − log π_ref(y|x)``

    Source: arXiv 2305.14718, A-LoL KL.

    The paper leaves trajectories of A ≤ 0 out of the data. Where one is passed, β ℓ is
    all that is left and lowers its likelihood; give it weight 0 to follow the paper.
    Over the reference's own responses the mean of ℓ is −KL(π_ref‖π), not KL(π‖π_ref):
    the penalty holds back likelihood gained on the data, which rises where A₊ > β.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), summed over tokens, nats.
      reference_logprobs: ``[N]`` log π_ref(y|x); no gradient flows into it.
      advantages: ``[N]`` r − V_ref(x); negative ones count as 0; no gradient flows
        into them.
      beta: strength of the penalty, reward per nat.

    Returns:
      ``[N]`` losses, reward·nat.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    check_per_trajectory(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        advantages=advantages,
    )
    check_positive(beta=beta)
    penalties = beta * arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    return a_lol_ref_free(policy_logprobs, advantages) + penalties


@dataclasses.dataclass(frozen=True)
class ALoL(Objective):
    """:func:`a_lol` as an objective.

    Attributes:
      clip: importance weights are clamped to [1 − clip, 1 + clip].
    """

    clip: float = 0.9
    needs: ClassVar[Needs] = Needs(reference=True, advantages=True, leftover=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ A₊, sharpened by the clipped π/π_ref", family="leftover"
    )

    def __post_init__(self):
        check_non_negative(clip=self.clip)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = a_lol(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.advantages,
            clip=self.clip,
        )
        weights = arithmetic.importance_weights(trajectories.log_ratios, self.clip)
        terms = {"importance_weight": weights, **_leftover_terms(trajectories)}
        return Losses(policy=losses, terms=terms)


@dataclasses.dataclass(frozen=True)
class ALoLRefFree(Objective):
    """:func:`a_lol_ref_free` as an objective: the reference gives the value alone."""

    needs: ClassVar[Needs] = Needs(advantages=True, leftover=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="μ A₊", family="leftover", limit=limits.weighted_by_advantage
    )

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = a_lol_ref_free(trajectories.policy_logprobs, trajectories.advantages)
        return Losses(policy=losses, terms=_leftover_terms(trajectories))


@dataclasses.dataclass(frozen=True)
class ALoLSeq(Objective):
    """:func:`a_lol_seq` as an objective; reads tokens.

    Attributes:
      clip: a token's importance weight is clamped to [1 − clip, 1 + clip].
    """

    clip: float = 0.9
    needs: ClassVar[Needs] = Needs(
        reference=True, token_logprobs=True, advantages=True, leftover=True
    )
    theory: ClassVar[Theory] = Theory(
        converges_to="μ A₊, sharpened token by token", family="leftover"
    )

    def __post_init__(self):
        check_non_negative(clip=self.clip)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = a_lol_seq(
            trajectories.token_logprobs,
            trajectories.reference_token_logprobs,
            trajectories.token_weights,
            trajectories.advantages,
            clip=self.clip,
        )
        return Losses(policy=losses, terms=_leftover_terms(trajectories))


@dataclasses.dataclass(frozen=True)
class ALoLKL(Objective):
    """:func:`a_lol_kl` as an objective: the penalty falls on the leftover alone.

    Attributes:
      beta: strength of the penalty, reward per nat.
    """

    beta: float = 0.1
    needs: ClassVar[Needs] = Needs(reference=True, advantages=True, leftover=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="near μ (A − β)₊; no minimum, 0 < A < β falls for ever",
        family="leftover",
        temperature="beta",
        at=0.1,
    )

    def __post_init__(self):
        check_positive(beta=self.beta)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = a_lol_kl(
            trajectories.policy_logprobs,
            trajectories.reference_logprobs,
            trajectories.advantages,
            beta=self.beta,
        )
        # The paper leaves the others out of the data.
        losses = arithmetic.keep_present(losses, trajectories.advantages)
        return Losses(policy=losses, terms=_leftover_terms(trajectories))


def _leftover_terms(trajectories: Trajectories) -> dict[str, jax.Array]:
    """What the family logs: the advantage, and which trajectories beat the reference."""
    leftover = (trajectories.advantages > 0).astype(jnp.float32)
    return {"advantage": trajectories.advantages, "leftover_rate": leftover}
