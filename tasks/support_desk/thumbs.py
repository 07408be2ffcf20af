"""How a thumb comes of a reply, and what customers have to do with it."""

import dataclasses
import math
import random

from dro_jax.tasks.support_desk import language
from dro_jax.tasks.support_desk.reward import read_prompt

THUMB_SLOPE = 6.0
THUMB_MIDDLE = 0.5
# Requests that nobody likes to have to make; the other half of the kinds is easy.
HARD_PROBLEMS = frozenset(("broken", "wrong", "refund"))


@dataclasses.dataclass(frozen=True)
class ThumbLaw:
    """The chance of a thumb up, given the prompt and how good the reply is.

    P = (1 − noise) p + noise (1 − p),
    p = sigmoid(slope (satisfaction − ½) + generosity g(name) − difficulty d(problem)),

    g is 1 of a third of the first names (generous customers), −1 of another third
    (stern ones) and 0 of the rest, see :func:`kindness`; d is 1 of the hard half of the
    problems (:data:`HARD_PROBLEMS`) and −1 of the easy half. What a reply is worth stays
    satisfaction: customers and problems change what thumbs say of it, alike for all
    replies to a prompt.

    Attributes:
      slope: how sharply thumbs tell good replies from bad ones.
      noise: share of the thumbs that are turned round whatever the reply.
      generosity, difficulty: in units of the logit.
    """

    slope: float = THUMB_SLOPE
    noise: float = 0.0
    generosity: float = 0.0
    difficulty: float = 0.0

    def up_probability(self, prompt: str, score: float) -> float:
        """P(thumb up) of a reply of that satisfaction."""
        request = read_prompt(prompt)
        logit = self.slope * (score - THUMB_MIDDLE)
        logit += self.generosity * kindness(request.name)
        logit -= self.difficulty * (1 if is_hard(request.problem) else -1)
        up = 1.0 / (1.0 + math.exp(-logit))
        return (1.0 - self.noise) * up + self.noise * (1.0 - up)

    def draw(self, rng: random.Random, prompt: str, score: float) -> str:
        """`up` or `down`."""
        return "up" if rng.random() < self.up_probability(prompt, score) else "down"


ORDINARY_THUMBS = ThumbLaw()


def kindness(name: str) -> int:
    """1 of a generous customer's first name, −1 of a stern one's, else 0."""
    return 1 - language.NAMES.index(name) % 3


def is_hard(problem: str) -> bool:
    """Whether it is of the hard half of the problems."""
    return problem in HARD_PROBLEMS
