"""The agents who wrote the logged replies: their habits, and how a reply comes of them.

Each habit of a reply is drawn by itself with the shares of :class:`Habits`, so that in a
log of ordinary agents every virtue is frequent and their conjunction rare.
"""

import dataclasses
import random
import re
from collections.abc import Iterable, Mapping

from dro_jax.tasks.support_desk import language
from dro_jax.tasks.support_desk.drawing import draw, pick

MAX_REPLY_LENGTH = 24  # pieces, EOS included; what is over costs filler sentences


@dataclasses.dataclass(frozen=True)
class Habits:
    """How often an agent's replies have what.

    Attributes:
      greeting: shares of greetings with the `right` name, a `wrong` one, `plain`, `none`.
      number: shares of the order's `right` number, a `wrong` one, `none`.
      step: shares of a `fitting` step, one for an `other` problem, a `vague` one, `none`.
      fillers: shares of their number.
      apology, rude, closing: shares of replies with such a sentence.
      curt: share of replies that are one word.
      cut: share of replies that break off.
    """

    greeting: Mapping[str, float]
    number: Mapping[str, float]
    step: Mapping[str, float]
    fillers: Mapping[str, float]
    apology: float
    rude: float
    closing: float
    curt: float
    cut: float


# Mediocre on purpose: the shipped log's.
ORDINARY = Habits(
    greeting={"right": 0.64, "wrong": 0.18, "plain": 0.09, "none": 0.09},
    number={"right": 0.64, "wrong": 0.18, "none": 0.18},
    step={"fitting": 0.42, "other": 0.16, "vague": 0.20, "none": 0.22},
    fillers={"0": 0.62, "1": 0.28, "2": 0.10},
    apology=0.5,
    rude=0.20,
    closing=0.5,
    curt=0.05,
    cut=0.04,
)
GOOD = Habits(
    greeting={"right": 0.80, "wrong": 0.08, "plain": 0.06, "none": 0.06},
    number={"right": 0.80, "wrong": 0.08, "none": 0.12},
    step={"fitting": 0.64, "other": 0.08, "vague": 0.16, "none": 0.12},
    fillers={"0": 0.76, "1": 0.20, "2": 0.04},
    apology=0.65,
    rude=0.10,
    closing=0.65,
    curt=0.03,
    cut=0.03,
)
POOR = Habits(
    greeting={"right": 0.46, "wrong": 0.26, "plain": 0.14, "none": 0.14},
    number={"right": 0.46, "wrong": 0.26, "none": 0.28},
    step={"fitting": 0.22, "other": 0.24, "vague": 0.24, "none": 0.30},
    fillers={"0": 0.46, "1": 0.36, "2": 0.18},
    apology=0.35,
    rude=0.32,
    closing=0.35,
    curt=0.08,
    cut=0.06,
)


def write_reply(
    rng: random.Random, request: Mapping[str, str], habits: Habits = ORDINARY
) -> str:
    """An agent's reply.

    Args:
      rng: draws the habits.
      request: the customer's `name`, `number` and `problem`.
      habits: the agent's.
    """
    if rng.random() < habits.curt:
        return pick(rng, language.CURT)
    opening = [
        _greeting(rng, request["name"], habits),
        _apology_and_number(rng, request["number"], habits),
    ]
    count = int(draw(rng, habits.fillers))
    fillers = [pick(rng, language.FILLERS) for _ in range(count)]
    ending = [
        _step(rng, request["problem"], habits),
        pick(rng, language.RUDE) if rng.random() < habits.rude else "",
        pick(rng, language.CLOSINGS) if rng.random() < habits.closing else "",
    ]
    while fillers and _count_pieces(opening + fillers + ending) >= MAX_REPLY_LENGTH:
        fillers.pop()
    words = " ".join(opening + fillers + ending).split()
    if not words:
        return pick(rng, language.CURT)
    if rng.random() < habits.cut:
        words = words[: 1 + int(rng.random() * len(words))]
    return " ".join(words)


def _greeting(rng: random.Random, name: str, habits: Habits) -> str:
    kind = draw(rng, habits.greeting)
    if kind == "none":
        return ""
    if kind == "plain":
        return pick(rng, language.PLAIN_GREETINGS)
    if kind == "wrong":
        name = pick(rng, [other for other in language.NAMES if other != name])
    return pick(rng, language.NAMED_GREETINGS).format(name=name)


def _apology_and_number(rng: random.Random, number: str, habits: Habits) -> str:
    kind = draw(rng, habits.number)
    apologises = rng.random() < habits.apology
    if kind == "none":
        return pick(rng, language.PLAIN_APOLOGIES) if apologises else ""
    if kind == "wrong":
        number = pick(rng, [other for other in language.NUMBERS if other != number])
    pool = language.NUMBERED_APOLOGIES if apologises else language.REFERENCES
    return pick(rng, pool).format(number=number)


def _step(rng: random.Random, problem: str, habits: Habits) -> str:
    kind = draw(rng, habits.step)
    if kind == "none":
        return ""
    if kind == "vague":
        return pick(rng, language.VAGUE_STEPS)
    if kind == "other":
        problem = pick(rng, [other for other in language.STEPS if other != problem])
    return pick(rng, language.STEPS[problem])


def _count_pieces(sentences: Iterable[str]) -> int:
    return len(re.findall(r"[A-Za-z]+|[0-9.,]", " ".join(sentences)))
