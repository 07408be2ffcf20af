"""Noise contrastive alignment: a prompt's responses told apart from noise by reward."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives.checks import check_per_response, check_positive
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["NCA", "nca"]


def nca(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    *,
    beta: float,
    alpha: float,
    weights: jax.Array | None = None,
) -> jax.Array:
    """NCA: each response classified, drawn by its reward or drawn as it was logged.

    ``−Σ_k p_k log σ(β ℓ_k) − 1/K Σ_k log σ(−β ℓ_k)`` over the K responses to x, p the
    softmax of r/α. The first term raises likely rewards, the second holds every ℓ down:
    both together fix ℓ itself, where :func:`dpo` fixes differences alone.

    Source: arXiv 2402.05369, NCA of explicit rewards; its code divides rewards by α as
    here, and adds 0.01 to the first one's, which is left out. Two responses and α → 0
    give NCA of preferences, ``−log σ(βℓ_w) − ½ log σ(−βℓ_w) − ½ log σ(−βℓ_l)``.

    The minimum is at ``β ℓ = log(K E[p | y])`` where the reference logged and β = 1,
    which tends to ``π_ref exp(r/α)``, normalised, as K grows.

    Args:
      policy_logprobs: ``[N, K]`` float32 log π_θ(y_k|x), summed over tokens, nats.
      reference_logprobs: ``[N, K]`` log π_ref(y_k|x); no gradient flows into it.
      rewards: ``[N, K]``; no gradient flows into them.
      beta: inverse temperature, per nat.
      alpha: temperature of the rewards, in their units; α β is the strength of the KL
        term.
      weights: ``[N, K]`` 1 for a response that is present, 0 for padding, whose numbers
        are not read; default 1. K above is the number present.

    Returns:
      ``[N]`` losses, one a list, nats; 0 for a list of one, which compares nothing.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta or alpha not positive.
    """
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_response(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
        weights=weights,
    )
    check_positive(beta=beta, alpha=alpha)
    policy_logprobs, reference_logprobs, rewards = (
        arithmetic.keep_present(x, weights)
        for x in (policy_logprobs, reference_logprobs, jax.lax.stop_gradient(rewards))
    )
    present = weights > 0
    count = jnp.sum(present, axis=1, dtype=jnp.float32)
    # A list of padding alone would be a softmax of −∞ only.
    shown = present | (count == 0)[:, None]
    shares = jax.nn.softmax(jnp.where(shown, rewards / alpha, -jnp.inf), axis=1)
    implicit = beta * arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    noise = jnp.where(present, 1 / jnp.maximum(count, 1.0)[:, None], 0.0)
    losses = -jnp.sum(
        shares * jax.nn.log_sigmoid(implicit) + noise * jax.nn.log_sigmoid(-implicit),
        axis=1,
    )
    return jnp.where(count > 1, losses, 0.0)


@dataclasses.dataclass(frozen=True)
class NCA(Objective):
    """:func:`nca` as an objective: a list's loss stands at each of its responses.

    Attributes:
      beta: inverse temperature, per nat.
      alpha: temperature of the rewards, in their units.
    """

    beta: float = 0.1
    alpha: float = 1.0
    needs: ClassVar[Needs] = Needs(reference=True, groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="π_ref · K E[softmax r/α] where it logged: π* as lists grow",
        family="lists",
        temperature="alpha",
        settings={"beta": 1.0},
        ranked=True,
    )

    def __post_init__(self):
        check_positive(beta=self.beta, alpha=self.alpha)

    def __call__(self, trajectories: Trajectories) -> Losses:
        policy, reference, rewards, weights = map(
            trajectories.by_group,
            (
                trajectories.policy_logprobs,
                trajectories.reference_logprobs,
                trajectories.rewards,
                trajectories.weights,
            ),
        )
        losses = nca(
            policy,
            reference,
            rewards,
            beta=self.beta,
            alpha=self.alpha,
            weights=weights,
        )
        return Losses(policy=jnp.repeat(losses, trajectories.group_size))
