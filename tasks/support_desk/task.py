"""Registers the seqio tasks ``support_desk`` and ``support_desk_replies``.

``support_desk`` has one logged reply to a prompt, with a noisy thumb;
``support_desk_replies`` four, with one to five stars each, for methods that compare.
Thumbs become rewards of -1 and 1, stars of -1 to 1, normalised to mean 0 and variance 1
over the train split. ``reward_fn`` is the true reward, :func:`dro_jax.tasks.support_desk.reward.satisfaction`.
The files are shipped beside this one; ``generate.py`` makes them. Logs of other agents and
customers: ``logs.py``.
"""

from dro_jax.data.sources import JsonlSource
from dro_jax.tasks.support_desk.registration import FOLDER, STARS, THUMBS, register


def _files(prefix: str) -> JsonlSource:
    splits = ("train", "validation")
    return JsonlSource(
        {split: FOLDER / f"{prefix}{split}.jsonl.gz" for split in splits}
    )


SUPPORT_DESK = register(
    "support_desk",
    _files(""),
    about="Replies to a shop's customers, each with a thumb; a program knows its worth.",
    **THUMBS,
)
SUPPORT_DESK_REPLIES = register(
    "support_desk_replies",
    _files("replies_"),
    about="Four replies to each of the customers, with one to five stars.",
    **STARS,
)
