"""Losses of a reward model: scores of responses against what was logged for them."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives._arithmetic import keep_present
from dro_jax.objectives.checks import check_non_negative, check_per_trajectory
from dro_jax.objectives.interface import Losses, Needs, Objective, Trajectories

__all__ = ["BradleyTerry", "RewardRegression", "bradley_terry", "reward_regression"]


def reward_regression(scores: jax.Array, rewards: jax.Array) -> jax.Array:
    """Least squares: the score becomes the mean reward of such a response.

    ``(s(x, y) − r)²``

    Source: textbook least squares; of rewards 0 and 1 it is Brier's score (Monthly
    Weather Review 78, 1950), whose minimum is the probability of a 1.

    Args:
      scores: ``[N]`` float32 s, in units of reward.
      rewards: ``[N]``; no gradient flows into them.

    Returns:
      ``[N]`` losses, in units of reward².

    Raises:
      TypeError, ValueError: wrong type, rank or shape.
    """
    check_per_trajectory(scores=scores, rewards=rewards)
    return jnp.square(scores - jax.lax.stop_gradient(rewards))


def bradley_terry(
    chosen_scores: jax.Array,
    rejected_scores: jax.Array,
    *,
    margin: jax.Array | float = 0.0,
) -> jax.Array:
    """Logistic regression on which of two responses to one prompt is preferred.

    ``−log σ(s(x, y_w) − s(x, y_l) − m)``, so that σ(s_w − s_l) becomes the probability
    that y_w is preferred. Scores are known up to a number for each prompt.

    Source: Bradley and Terry, Biometrika 39 (1952), as in arXiv 2203.02155; the margin,
    arXiv 2307.09288, equation 2.

    Args:
      chosen_scores: ``[N]`` float32 s(x, y_w), log-odds.
      rejected_scores: ``[N]`` s(x, y_l).
      margin: m, log-odds: one number or ``[N]``; no gradient flows into it. With it
        σ(s_w − s_l) is no probability any more.

    Returns:
      ``[N]`` losses, one a pair, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or a margin that is negative.
    """
    check_per_trajectory(chosen_scores=chosen_scores, rejected_scores=rejected_scores)
    if isinstance(margin, int | float):
        check_non_negative(margin=margin)
    else:
        check_per_trajectory(chosen_scores=chosen_scores, margin=margin)
    gaps = chosen_scores - rejected_scores - jax.lax.stop_gradient(margin)
    return -jax.nn.log_sigmoid(gaps)


@dataclasses.dataclass(frozen=True)
class RewardRegression(Objective):
    """:func:`reward_regression` as an objective: it trains a reward model.

    Of thumbs, whose rewards are two numbers, it is Brier's score up to their scale.
    """

    needs: ClassVar[Needs] = Needs(scores=True)

    def __call__(self, trajectories: Trajectories) -> Losses:
        losses = reward_regression(trajectories.scores, trajectories.rewards)
        return Losses(policy=losses)


@dataclasses.dataclass(frozen=True)
class BradleyTerry(Objective):
    """:func:`bradley_terry` as an objective: the mean over all pairs of a group.

    A pair is any two responses to one prompt of different rewards. A group's loss stands
    at each of its responses; a group without a pair has loss 0.

    Attributes:
      margin: the margin sought for each unit by which two rewards differ, log-odds.
    """

    margin: float = 0.0
    needs: ClassVar[Needs] = Needs(scores=True, groups=True)

    def __post_init__(self):
        check_non_negative(margin=self.margin)

    def __call__(self, trajectories: Trajectories) -> Losses:
        check_per_trajectory(scores=trajectories.scores, rewards=trajectories.rewards)
        better, worse = np.triu_indices(trajectories.group_size, k=1)
        # Of empty places whatever stands there must not reach a gradient.
        scores, rewards = (
            trajectories.by_group(keep_present(x, trajectories.weights))
            for x in (trajectories.scores, trajectories.rewards)
        )
        weights = trajectories.by_group(trajectories.weights)
        gaps = rewards[:, better] - rewards[:, worse]
        decided = (weights[:, better] > 0) & (weights[:, worse] > 0) & (gaps > 0)
        losses = bradley_terry(
            scores[:, better].reshape(-1),
            scores[:, worse].reshape(-1),
            margin=self.margin * jnp.maximum(gaps, 0.0).reshape(-1),
        ).reshape(decided.shape)
        count = jnp.maximum(jnp.sum(decided, axis=1, dtype=jnp.float32), 1.0)

        def group_mean(per_pair):
            mean = jnp.sum(jnp.where(decided, per_pair, 0.0), axis=1) / count
            return jnp.repeat(mean, trajectories.group_size)

        margins = jax.lax.stop_gradient(scores[:, better] - scores[:, worse])
        return Losses(
            policy=group_mean(losses),
            terms={
                "scores/margins": group_mean(margins),
                "pair_rate": group_mean(jnp.ones_like(margins)),
            },
        )
