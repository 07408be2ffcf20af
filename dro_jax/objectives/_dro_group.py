"""DRO, V taken from the group of responses at hand: neither network nor samples.

Sources: arXiv 2503.18929 (trajectory balance, whose log-partition is VarGrad's mean over
the group) and, for V of the rewards alone, the estimate of arXiv 2505.20686 (A*-PO).
"""

import dataclasses
from typing import ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives import limits
from dro_jax.objectives._prompt_values import sampled_values
from dro_jax.objectives.checks import check_per_response, check_positive
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories
from dro_jax.objectives.theory import Theory

__all__ = ["DROGroup", "GroupValue", "dro_group"]

GroupValue = Literal["residuals", "rewards"]


def dro_group(
    policy_logprobs: jax.Array,
    reference_logprobs: jax.Array,
    rewards: jax.Array,
    *,
    tau: float,
    group_value: GroupValue = "residuals",
    weights: jax.Array | None = None,
) -> jax.Array:
    """DRO with V from the group: the mean of :func:`dro` over a prompt's responses.

    ``1/K Σ_k ½ (r_k − sg V̂(x) − τ ℓ_k)²`` over the K responses to x, with
    ``V̂ = 1/K Σ_j (r_j − τ ℓ_j)`` of `residuals` or ``V̂ = τ log(1/K Σ_j exp(r_j/τ))`` of
    `rewards`. Gradients flow through the ℓ_k alone.

    `residuals` is trajectory balance with VarGrad's estimate, over τ²/2 (arXiv
    2503.18929); its gradient is that of ``½ Var(r − τ ℓ)`` within the group, stop or
    none, so it is :func:`dro_p` with a prompt's responses in place of the batch. Zero
    at π*, whoever logged.

    `rewards` takes the group's responses for the reference's own
    (:func:`sampled_values`, arXiv 2505.20686): V̂ does not move as the policy does, and
    of few responses it is far from V*. Square losses against a lagged policy are of
    this form, the reference being the policy that sampled the group.

    Args:
      policy_logprobs: ``[N, K]`` float32 log π_θ(y_k|x), summed over tokens, nats.
      reference_logprobs: ``[N, K]`` log π_ref(y_k|x); no gradient flows into it.
      rewards: ``[N, K]``; no gradient flows into them.
      tau: strength of the KL term, reward per nat.
      group_value: what V̂ is taken from, `residuals` or `rewards`.
      weights: ``[N, K]`` 1 for a response that is present, 0 for padding, whose numbers
        are not read; default 1. K above is the number present.

    Returns:
      ``[N]`` losses, one a group, reward²; 0 for a group of one, which says nothing of
      its prompt's value.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, tau not positive, or another
        group_value.
    """
    residuals, present = _group_residuals(
        policy_logprobs, reference_logprobs, rewards, tau, group_value, weights
    )
    count = jnp.sum(present, axis=1, dtype=jnp.float32)
    means = jnp.sum(0.5 * jnp.square(residuals), axis=1) / jnp.maximum(count, 1.0)
    return jnp.where(count > 1, means, 0.0)


def _group_residuals(
    policy_logprobs, reference_logprobs, rewards, tau, group_value, weights
):
    """``[N, K]`` r − sg V̂ − τ ℓ, 0 at padding, and which responses are present."""
    if weights is None:
        weights = jnp.ones_like(rewards)
    check_per_response(
        policy_logprobs=policy_logprobs,
        reference_logprobs=reference_logprobs,
        rewards=rewards,
        weights=weights,
    )
    check_positive(tau=tau)
    _check_group_value(group_value)
    policy_logprobs, reference_logprobs, rewards = (
        arithmetic.keep_present(x, weights)
        for x in (policy_logprobs, reference_logprobs, jax.lax.stop_gradient(rewards))
    )
    log_ratios = arithmetic.log_ratios(policy_logprobs, reference_logprobs)
    differences = arithmetic.residuals(rewards, 0.0, tau, log_ratios)
    present = weights > 0
    if group_value == "rewards":
        values = sampled_values(rewards, tau=tau, weights=weights)
    else:
        count = jnp.sum(present, axis=1, dtype=jnp.float32)
        # Of padding the difference is 0.
        values = jnp.sum(differences, axis=1) / jnp.maximum(count, 1.0)
    values = jax.lax.stop_gradient(values)[:, None]
    return jnp.where(present, differences - values, 0.0), present


def _check_group_value(group_value):
    known = get_args(GroupValue)
    if group_value not in known:
        raise ValueError(
            f"group_value must be {' or '.join(map(repr, known))}, got {group_value!r}"
        )


@dataclasses.dataclass(frozen=True)
class DROGroup(Objective):
    """:func:`dro_group` as an objective: a group's loss stands at each of its responses.

    Attributes:
      tau: strength of the KL term, reward per nat.
      group_value: what V̂ is taken from, `residuals` or `rewards`.
    """

    tau: float = 1.0
    group_value: GroupValue = "residuals"
    needs: ClassVar[Needs] = Needs(reference=True, groups=True)
    theory: ClassVar[Theory] = Theory(
        converges_to="π*, whoever logged, from two responses a prompt on",
        family="optimum",
        temperature="tau",
        limit=limits.optimum_without_noise,
        ranked=True,
    )

    def __post_init__(self):
        check_positive(tau=self.tau)
        _check_group_value(self.group_value)

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
        of_group = {"tau": self.tau, "group_value": self.group_value}
        losses = dro_group(policy, reference, rewards, **of_group, weights=weights)
        residuals, _ = _group_residuals(
            policy, reference, rewards, **of_group, weights=weights
        )
        return Losses(
            policy=jnp.repeat(losses, trajectories.group_size),
            terms={"residual": residuals.reshape(-1)},
        )
