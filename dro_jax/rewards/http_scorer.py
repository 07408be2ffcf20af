"""Scores that a server gives."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from dro_jax.errors import ConfigError
from dro_jax.rewards.cached import Keep, as_scores, keep_nothing
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.http_client import BadAnswer, HttpClient, values_of
from dro_jax.rewards.interface import Scores


@dataclasses.dataclass(frozen=True)
class HttpScorer:
    """A server that scores batches of prompts and responses.

    It is sent, by POST,

      {"items": [{"prompt": "…", "response": "…"}, …]}

    and answers, in the same order,

      {"scores": [{"score": 0.7, "parts": {"helpful": 0.9, "harmless": 0.5}}, …]}

    where parts may be left out, and a plain number stands for a score without parts.
    What it answers else is asked for again; see `HttpClient` for what else is.

    Attributes:
      client: where the server is, and how it is asked.
      version: of the server's model, as you call it. Scores are kept under address and
        version: change it where the server's model changes.
      batch_size: items in a request.
      name: what tables call it.
    """

    client: HttpClient
    version: str = ""
    batch_size: int = 16
    name: str = "http"

    def __post_init__(self):
        if self.batch_size < 1:
            raise ConfigError(
                f"HttpScorer.batch_size = {self.batch_size}: give 1 or more"
            )

    @property
    def fingerprint(self) -> str:
        return fingerprint("HttpScorer", self.client.url, self.version)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        return self.score(prompts, responses, keep_nothing)

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], keep: Keep
    ) -> Scores:
        """The scores; `keep` is given each request's when they come.

        Raises:
          ServerError: some failed for good; says which responses and why.
        """
        pairs = list(zip(prompts, responses, strict=True))
        starts = range(0, len(pairs), self.batch_size)
        batches = [pairs[start : start + self.batch_size] for start in starts]
        results = self.client.post_all(
            [
                {"items": [{"prompt": p, "response": r} for p, r in batch]}
                for batch in batches
            ],
            lambda item, answer: _values(answer, len(batches[item])),
            lambda item, values: keep(
                range(starts[item], starts[item] + len(values)), as_scores(values)
            ),
        )

        def told(item: int) -> str:
            first, count = starts[item], len(batches[item])
            return f"response {first}" + (
                f" to {first + count - 1}" if count > 1 else ""
            )

        found = values_of(results, self.client.url, told)
        return as_scores([value for values in found for value in values])


def _values(answer: Any, count: int) -> list[dict[str, Any]]:
    """The scores of an answer, as the cache holds them.

    Raises:
      BadAnswer: it is anything else.
    """
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if not isinstance(scores, list):
        raise BadAnswer(f'no "scores" in {str(answer)[:80]}')
    if len(scores) != count:
        raise BadAnswer(f"{len(scores)} scores for {count} responses")
    values = list(map(_value, scores))
    if any(value["parts"].keys() != values[0]["parts"].keys() for value in values):
        raise BadAnswer("scores with different parts")
    return values


def _value(score: Any) -> dict[str, Any]:
    given = score if isinstance(score, dict) else {"score": score}
    parts = given.get("parts") or {}
    if not isinstance(parts, dict):
        raise BadAnswer(f"parts that are no object: {str(parts)[:80]}")
    return {
        "total": _number(given.get("score")),
        "parts": {name: _number(number) for name, number in parts.items()},
    }


def _number(number: Any) -> float:
    try:
        if isinstance(number, int | float) and not isinstance(number, bool):
            found = float(number)
            if math.isfinite(found):
                return found
    except OverflowError:
        pass
    raise BadAnswer(f"a score that is no finite number: {str(number)[:80]}")
