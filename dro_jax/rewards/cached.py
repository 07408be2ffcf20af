"""Rewards whose scores are kept on disk."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards.distinctness import Distinctness
from dro_jax.rewards.interface import Reward, Scores
from dro_jax.rewards.score_cache import MISSING, ScoreCache
from dro_jax.rewards.weighted_sum import WeightedSum

Keep = Callable[[Sequence[int], Scores], None]


@runtime_checkable
class GradualReward(Reward, Protocol):
    """One that gives scores of some responses before it has those of all."""

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], keep: Keep
    ) -> Scores:
        """As a call; `keep` is given (rows, their scores) the moment these are known."""
        ...


@dataclasses.dataclass(frozen=True)
class CachedReward:
    """A reward that is asked for no pair of prompt and response twice.

    For what is dear: classifiers, servers, reward models. What is known is kept at
    once, so that a command that was killed goes on from there.

    Attributes:
      reward: the dear one.
      folder: where scores are kept; None, as `ScoreCache` has it.
      batch_size: how many responses the reward is given at a time, where it does not
        itself give some scores before the others.

    Raises:
      ConfigError: a score depends on the responses beside it, or there is no batch.
    """

    reward: Reward
    folder: str | None = None
    batch_size: int = 256

    def __post_init__(self):
        if self.batch_size < 1:
            raise ConfigError(
                f"CachedReward.batch_size = {self.batch_size}: give 1 or more"
            )
        if _looks_at_others(self.reward):
            raise ConfigError(
                "Distinctness without a corpus depends on all responses that are scored "
                "together, so its scores cannot be kept: name a corpus, or cache the "
                "other rewards alone"
            )

    @property
    def name(self) -> str:
        return self.reward.name

    @property
    def fingerprint(self) -> str:
        return self.reward.fingerprint

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        pairs = list(zip(prompts, responses, strict=True))
        with ScoreCache(self.fingerprint, self.folder) as cache:
            found = cache.get_many(pairs)
            # Equal pairs are asked for once.
            missing = list(
                dict.fromkeys(
                    pair
                    for pair, value in zip(pairs, found, strict=True)
                    if value is MISSING
                )
            )
            if missing:
                self._ask(missing, cache)
                found = cache.get_many(pairs)
        return as_scores(found)

    def _ask(self, pairs: list[tuple[str, str]], cache: ScoreCache) -> None:
        def keep(rows: Sequence[int], scores: Scores) -> None:
            for row, value in zip(rows, as_values(scores), strict=True):
                cache.put(pairs[row], value)

        if isinstance(self.reward, GradualReward):
            self.reward.score(*_columns(pairs), keep)
            return
        for start in range(0, len(pairs), self.batch_size):
            part = pairs[start : start + self.batch_size]
            rows = range(start, start + len(part))
            keep(rows, self.reward(*_columns(part)))


def _looks_at_others(reward: Reward) -> bool:
    if isinstance(reward, WeightedSum):
        return any(map(_looks_at_others, reward.rewards))
    return isinstance(reward, Distinctness) and reward.corpus is None


def as_values(scores: Scores) -> list[dict[str, Any]]:
    """Scores as JSON holds them, one by one: `{"total": 0.5, "parts": {…}}`."""
    return [
        {
            "total": float(total),
            "parts": {name: float(x[row]) for name, x in scores.parts.items()},
        }
        for row, total in enumerate(scores.total)
    ]


def as_scores(values: Sequence[dict[str, Any]]) -> Scores:
    """The scores that :func:`as_values` made values of.

    Raises:
      DataError: they have different parts.
    """
    names = list(values[0]["parts"]) if values else []
    for value in values:
        if value["parts"].keys() != set(names):
            raise DataError(
                f"a reward has the parts {', '.join(names) or 'none'} for one response "
                f"and {', '.join(value['parts']) or 'none'} for another: they must be "
                "the same for all"
            )
    return Scores(
        np.array([value["total"] for value in values], np.float64),
        {
            name: np.array([value["parts"][name] for value in values], np.float64)
            for name in names
        },
    )


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    prompts, responses = zip(*pairs, strict=True)
    return list(prompts), list(responses)
