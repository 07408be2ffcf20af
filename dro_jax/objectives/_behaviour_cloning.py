"""Behaviour cloning: imitate the logged responses."""

import dataclasses
from typing import ClassVar

import jax

from dro_jax.objectives.checks import check_per_trajectory
from dro_jax.objectives.interface import Losses, Needs, Trajectories


def nll(policy_logprobs: jax.Array) -> jax.Array:
    """Negative log-likelihood of the response.

    ``−log π_θ(y|x) = Σ_t −log π_θ(y_t | x, y_<t)``, summed over tokens, never averaged.

    Source: the NLL (behaviour cloning) baseline of A-LoL, arXiv 2305.14718.

    Args:
      policy_logprobs: ``[N]`` float32 log π_θ(y|x), nats.

    Returns:
      ``[N]`` losses, nats.

    Raises:
      TypeError, ValueError: wrong type or rank.
    """
    check_per_trajectory(policy_logprobs=policy_logprobs)
    return -policy_logprobs


@dataclasses.dataclass(frozen=True)
class NLL:
    """:func:`nll` as an objective: no reference, no value, rewards unused."""

    needs: ClassVar[Needs] = Needs()

    def __call__(self, trajectories: Trajectories) -> Losses:
        return Losses(policy=nll(trajectories.policy_logprobs))
