"""A language model behind an OpenAI-compatible server as a judge."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.judges.asking_cost import Estimate, Prices
from dro_jax.judges.chat_asking import ask_all
from dro_jax.judges.chat_server import ChatServer
from dro_jax.judges.interface import Pair, Verdicts
from dro_jax.judges.question import Question, preference_of
from dro_jax.messages import note, say
from dro_jax.plurals import counted
from dro_jax.rewards.pacing import Clock
from dro_jax.rewards.score_cache import MISSING, ScoreCache

# Of this code: raised when other answers would be read as verdicts.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class LlmJudge:
    """Asks a model which of two responses is better, in both orders.

    A response wins if it is preferred as A and as B; where the two answers differ, or
    both are ties, the pair is a tie (Zheng et al. 2023, "Judging LLM-as-a-Judge with
    MT-Bench and Chatbot Arena", section 3.4, https://arxiv.org/abs/2306.05685). Equal
    responses are a tie without asking. An answer is kept on disk the moment it comes
    (`dro_jax.rewards.score_cache`) and never asked for again.

    Attributes:
      server: where and what is asked.
      prices: what that costs, and what may be spent.
      template: a text file with the question; None, the one that ships.
      name: what tables call it; None, the model's name.

    Raises:
      ConfigError: a setting is out of range, or the template lacks a place.
    """

    server: ChatServer
    prices: Prices
    template: str | None = None
    name: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "_question", Question.read(self.template))
        object.__setattr__(self, "_spent", [])
        if self.name is None:
            object.__setattr__(self, "name", self.server.model)

    @property
    def fingerprint(self) -> str:
        """Of the server, the model, what it is asked and how its answers are read."""
        parts = [_VERSION, self.server.identity(), self._question.text]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def __call__(self, pairs: Sequence[Pair], clock: Clock | None = None) -> Verdicts:
        """A verdict on each pair; what the model gave none on is not answered.

        Args:
          pairs: two responses to a prompt each.
          clock: the computer's, if not given.

        Raises:
          ConfigError: it would cost more than is allowed; nothing was asked.
          ServerError: the server did not answer. What it did answer is kept.
        """
        asked = _both_orders(pairs)
        with ScoreCache(self.fingerprint) as cache:
            kept = cache.get_many(asked)
            missing = [p for p, own in zip(asked, kept, strict=True) if own is MISSING]
            if missing:
                self._ask(missing, len(asked), cache, clock)
            found = cache.get_many(asked)
        preferences = {
            pair: value["preference"]
            for pair, value in zip(asked, found, strict=True)
            if value is not MISSING
        }
        verdicts = [_combined(pair, preferences) for pair in pairs]
        _tell(pairs, preferences, verdicts)
        return Verdicts(
            np.array([0.5 if v is None else v for v in verdicts], np.float64),
            np.array([v is not None for v in verdicts], bool),
        )

    def _ask(self, missing, wanted: int, cache: ScoreCache, clock) -> None:
        questions = [self._question.of(pair) for pair in missing]
        estimate = Estimate.of(questions, self.server.max_tokens, self.prices)
        estimate.check(self.prices, sum(self._spent))
        say(
            f"judge {self.name}: {estimate}; {wanted - len(missing):,} of {wanted:,} "
            "answers are kept from before"
        )

        def keep(item: int, answer: str) -> None:
            value = {"preference": preference_of(answer), "answer": answer}
            cache.put(missing[item], value)

        # Counted whatever comes of it.
        self._spent.append(estimate.cost)
        used = ask_all(
            self.server,
            questions,
            lambda answer: preference_of(answer) is not None,
            keep,
            clock,
            any_kept=wanted > len(missing),
        )
        if used.input or used.output:
            self._spent[-1] = self.prices.of(*used)
            say(
                f"judge {self.name}: by the server's count {used.input:,} tokens sent and "
                f"{used.output:,} answered: {self._spent[-1]:.2f}"
            )


def _both_orders(pairs: Sequence[Pair]) -> list[Pair]:
    """What is asked, each once: of every pair of different responses both orders."""
    asked = {}
    for pair in pairs:
        if pair.first != pair.second:
            asked |= dict.fromkeys((pair, _turned(pair)))
    return list(asked)


def _turned(pair: Pair) -> Pair:
    return Pair(pair.prompt, pair.second, pair.first)


def _combined(pair: Pair, preferences: Mapping[Pair, float]) -> float | None:
    if pair.first == pair.second:
        return 0.5
    one, other = preferences.get(pair), preferences.get(_turned(pair))
    if one is None or other is None:
        return None
    other = 1 - other
    return one if one == other else 0.5


def _tell(pairs, preferences: Mapping[Pair, float], verdicts) -> None:
    both = [
        (preferences[pair], 1 - preferences[_turned(pair)])
        for pair, verdict in zip(pairs, verdicts, strict=True)
        if verdict is not None and pair.first != pair.second
    ]
    if both:
        same = sum(one == other for one, other in both)
        say(
            f"judge: of {counted(len(both), 'pair')} {same:,} got the same verdict in "
            "both orders; the others count as ties"
        )
    if unanswered := verdicts.count(None):
        note(
            f"the judge gave no verdict on {unanswered:,} of "
            f"{counted(len(verdicts), 'pair')}, which are left out"
        )
