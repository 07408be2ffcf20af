"""Rewards of sampled responses."""

import dataclasses
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.rewards.interface import Reward


def with_rewards(
    responses: Sequence[SampledResponse], rewards: Sequence[Reward]
) -> tuple[SampledResponse, ...]:
    """Responses with their rewards; those of other rewards that they have stay, behind.

    Args:
      responses: in any order.
      rewards: each of a name of its own; the first is the one that counts.

    Raises:
      ConfigError: two have one name.
      DataError: a score is not finite.
    """
    names = [reward.name for reward in rewards]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"the rewards are called {', '.join(names)}: give each a name of its own"
        )
    prompts = [one.prompt for one in responses]
    texts = [one.response for one in responses]
    scores = {reward.name: reward(prompts, texts) for reward in rewards}
    totals = {name: found.total.tolist() for name, found in scores.items()}
    parts = {
        name: {part: numbers.tolist() for part, numbers in found.parts.items()}
        for name, found in scores.items()
    }
    return tuple(
        dataclasses.replace(
            one,
            rewards=_first({n: own[row] for n, own in totals.items()}, one.rewards),
            reward_parts=_first(
                {
                    name: {part: numbers[row] for part, numbers in own.items()}
                    for name, own in parts.items()
                    if own
                },
                {n: own for n, own in one.reward_parts.items() if n not in totals},
            ),
        )
        for row, one in enumerate(responses)
    )


def _first(new: dict, old: dict) -> dict:
    return new | {name: value for name, value in old.items() if name not in new}
