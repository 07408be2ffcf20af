"""Stars of a reply: how many of several customers would thumb it up."""

import random
from collections.abc import Iterable, Iterator

from dro_jax.tasks.support_desk.reward import satisfaction
from dro_jax.tasks.support_desk.thumbs import ThumbLaw

THUMBS_PER_REPLY = 4


def ups(rng: random.Random, law: ThumbLaw, prompt: str, score: float, num: int) -> int:
    """How many of so many thumbs are up, of a reply of that satisfaction."""
    return sum(law.draw(rng, prompt, score) == "up" for _ in range(num))


def with_stars(
    records: Iterable[dict], rng: random.Random, law: ThumbLaw
) -> Iterator[dict]:
    """The records with `stars`, 1 to 5, in place of the thumb, which is one of the four.

    Args:
      records: dicts of prompt, response, thumb and more.
      rng: draws the other thumbs; not the one that made the records.
      law: how customers judge.
    """
    for record in records:
        others = dict(record)
        first = others.pop("thumb") == "up"
        score = satisfaction(record["prompt"], record["response"])
        more = ups(rng, law, record["prompt"], score, THUMBS_PER_REPLY - 1)
        yield {**others, "stars": 1 + first + more}
