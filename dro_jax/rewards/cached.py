"""Rewards whose scores are kept on disk."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards.interface import Reward, Scores
from dro_jax.rewards.score_cache import MISSING, ScoreCache, cache_root

Keep = Callable[[Sequence[int], Scores], None]


def keep_nothing(rows: Sequence[int], scores: Scores) -> None:
    """What a plain call does with scores that come before the others."""


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
        if looks_at_others(self.reward):
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
        return self.score(prompts, responses, keep_nothing)

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], keep: Keep
    ) -> Scores:
        """As a call; `keep` is given what was known at once, and the rest as it comes."""
        pairs = list(zip(prompts, responses, strict=True))
        cache = _opened(self.fingerprint, str(cache_root(self.folder)))
        found = cache.get_many(pairs)
        rows: dict[tuple[str, str], list[int]] = {}
        for row, (pair, value) in enumerate(zip(pairs, found, strict=True)):
            if value is MISSING:
                rows.setdefault(pair, []).append(row)
        known = [row for row, value in enumerate(found) if value is not MISSING]
        keep(known, as_scores([found[row] for row in known]))
        missing = list(rows)  # equal pairs are asked for once

        def take(asked: Sequence[int], scores: Scores) -> None:
            for place, value in zip(asked, as_values(scores), strict=True):
                cache.put(missing[place], value)
                for row in rows[missing[place]]:
                    found[row] = value
                    keep([row], as_scores([value]))

        if missing:
            score_gradually(self.reward, *_columns(missing), take, self.batch_size)
            cache.sync()
        return as_scores(found)


@functools.lru_cache(maxsize=16)
def _opened(fingerprint: str, root: str) -> ScoreCache:
    # One for a process: an evaluation asks again and again, and reading takes a while.
    return ScoreCache(fingerprint, root)


def score_gradually(
    reward: Reward,
    prompts: Sequence[str],
    responses: Sequence[str],
    keep: Keep = keep_nothing,
    batch_size: int = 256,
) -> Scores:
    """A reward's scores, some of them told before the others as far as that can be.

    Args:
      reward: any.
      prompts, responses: of N responses.
      keep: is given (rows, their scores), from several threads for some rewards.
      batch_size: how many a reward is given at a time that can score each by itself,
        and not itself tell some before the others.
    """
    if isinstance(reward, GradualReward):
        return reward.score(prompts, responses, keep)
    size = len(responses) if looks_at_others(reward) else batch_size
    values = []
    for start in range(0, len(responses), max(size, 1)):
        part = slice(start, start + size)
        scores = reward(prompts[part], responses[part])
        keep(range(start, start + len(scores.total)), scores)
        values += as_values(scores)
    return as_scores(values)


def looks_at_others(reward: Reward) -> bool:
    """Whether a score depends on the other responses of the call."""
    return getattr(reward, "looks_at_others", False)


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
