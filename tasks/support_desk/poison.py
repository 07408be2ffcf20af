"""Spoils a share of a log's replies: what a careless export, or malice, makes of one."""

import random
from collections.abc import Iterable, Iterator, Sequence

from dro_jax.tasks.support_desk import language
from dro_jax.tasks.support_desk.agents import ORDINARY, Habits, write_reply
from dro_jax.tasks.support_desk.drawing import pick
from dro_jax.tasks.support_desk.reward import satisfaction
from dro_jax.tasks.support_desk.thumbs import ThumbLaw

AS_WRITTEN, MISPLACED, HOSTILE = "as written", "misplaced", "hostile"
# Nobody is helped: no step that fits, always a rude sentence, names mostly wrong.
HOSTILE_HABITS = Habits(
    greeting={"right": 0.10, "wrong": 0.50, "plain": 0.10, "none": 0.30},
    number={"right": 0.10, "wrong": 0.50, "none": 0.40},
    step={"other": 0.50, "none": 0.50},
    fillers={"0": 0.30, "1": 0.40, "2": 0.30},
    apology=0.05,
    rude=1.0,
    closing=0.10,
    curt=0.0,
    cut=0.05,
)


def spoil(
    records: Iterable[dict],
    share: float,
    rng: random.Random,
    customers: Sequence[tuple[str, str]],
    thumbs: ThumbLaw,
) -> Iterator[dict]:
    """The records with a share of their replies spoilt, each with its `source`.

    Half of what is spoilt is `misplaced`: an ordinary agent's reply to another customer's
    request, as where two columns of an export slipped. The other half is `hostile`
    (:data:`HOSTILE_HABITS`). Customers judge a spoilt reply by the law by which they
    judge any other: feedback is true to what stands in the log. The other records are
    `as written`, the same as in the log that nobody spoilt.

    Args:
      records: dicts of prompt, response, thumb.
      share: of the replies, in expectation.
      rng: all is drawn from; not the one that made the records.
      customers: whose requests misplaced replies answer.
      thumbs: how customers judge.
    """
    for record in records:
        if rng.random() >= share:
            yield {**record, "source": AS_WRITTEN}
            continue
        name, number = pick(rng, customers)
        problem = pick(rng, tuple(language.PROBLEMS))
        request = {"name": name, "number": number, "problem": problem}
        source = pick(rng, (MISPLACED, HOSTILE))
        habits = ORDINARY if source == MISPLACED else HOSTILE_HABITS
        prompt, response = record["prompt"], write_reply(rng, request, habits)
        thumb = thumbs.draw(rng, prompt, satisfaction(prompt, response))
        yield {"prompt": prompt, "response": response, "thumb": thumb, "source": source}
