"""Losses of several responses to one prompt, in order of preference."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives.checks import (
    check_non_negative,
    check_one_length,
    check_per_response,
    check_per_trajectory,
)
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["PRO", "pro"]


def pro(
    mean_logprobs: jax.Array,
    rewards: jax.Array,
    best_nll: jax.Array,
    *,
    sft_weight: float = 0.05,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Preference ranking optimisation: each response against all that rank below it.

    ``Σ_{k<K} { logsumexp(s_k T_k, {s_j T_kj : j > k}) − s_k T_k }
    + sft_weight (K−1)² · NLL(y_1)``, with ``T_kj = r_k − r_j`` and
    ``T_k = max_{j>k} T_kj``.

    Source: arXiv 2306.17492. The last response has none below it and adds nothing.

    Here s is the *length-averaged* log-probability, as printed; the likelihood term is
    a sum over tokens.

    Args:
      mean_logprobs: ``[N, K]`` float32 s, log π_θ(y_k|x) / |y_k|, best response first,
        nats.
      rewards: ``[N, K]``, falling along K; no gradient flows into them.
      best_nll: ``[N]`` −log π_θ(y_1|x), summed over tokens, nats.
      sft_weight: weight of the likelihood of the best response.
      weights: ``[N, K]`` 1 for a response that is present, 0 for padding, whose numbers
        are not read; default 1. K above is the number present.

    Returns:
      ``[N]`` losses, one a list; 0 for a list of one.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or sft_weight negative.
    """
    if weights is None:
        weights = jnp.ones_like(mean_logprobs)
    check_per_response(mean_logprobs=mean_logprobs, rewards=rewards, weights=weights)
    check_per_trajectory(best_nll=best_nll)
    check_one_length(mean_logprobs=mean_logprobs, best_nll=best_nll)
    check_non_negative(sft_weight=sft_weight)
    present = weights > 0
    num_ranks = mean_logprobs.shape[1]
    scores = jnp.where(present, mean_logprobs, 0.0)
    rewards = jnp.where(present, jax.lax.stop_gradient(rewards), 0.0)

    below = np.triu(np.ones((num_ranks, num_ranks), bool), k=1)
    below = below[None] & present[:, :, None] & present[:, None, :]
    gaps = rewards[:, :, None] - rewards[:, None, :]
    widest = jnp.max(jnp.where(below, gaps, -jnp.inf), axis=-1, initial=-jnp.inf)
    # Where nothing ranks below, −∞ times the score would be infinite or NaN.
    widest = jnp.where(jnp.any(below, axis=-1), widest, 0.0)
    own = scores * widest
    others = jnp.where(below, scores[:, None, :] * gaps, -jnp.inf)
    # A response without others is alone in its sum, whose logarithm is `own` itself.
    candidates = jnp.concatenate([own[:, :, None], others], axis=-1)
    ranking = jnp.sum(jax.nn.logsumexp(candidates, axis=-1) - own, axis=-1)

    contests = jnp.maximum(jnp.sum(present, axis=-1, dtype=jnp.float32) - 1, 0.0)
    likelihood = jnp.where(contests > 0, best_nll, 0.0)
    return ranking + sft_weight * jnp.square(contests) * likelihood


@dataclasses.dataclass(frozen=True)
class PRO(Objective):
    """:func:`pro` as an objective: a list's loss stands at each of its responses.

    Attributes:
      sft_weight: weight of the likelihood of the best response.
    """

    sft_weight: float = 0.05
    needs: ClassVar[Needs] = Needs(groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="no reference in it: the better of what is logged",
        family="lists",
        ranked=True,
    )

    def __post_init__(self):
        check_non_negative(sft_weight=self.sft_weight)

    def __call__(self, trajectories: Trajectories) -> Losses:
        check_per_trajectory(policy_logprobs=trajectories.policy_logprobs)
        logprobs, rewards, weights, lengths = map(
            trajectories.by_group,
            (
                trajectories.policy_logprobs,
                trajectories.rewards,
                trajectories.weights,
                trajectories.lengths,
            ),
        )
        losses = pro(
            logprobs / jnp.maximum(lengths, 1.0),
            rewards,
            -logprobs[:, 0],
            sft_weight=self.sft_weight,
            weights=weights,
        )
        return Losses(policy=jnp.repeat(losses, trajectories.group_size))
