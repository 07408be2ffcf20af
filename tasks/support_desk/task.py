"""Registers the seqio tasks ``support_desk`` and ``support_desk_replies``.

``support_desk`` has one logged reply to a prompt, with a noisy thumb;
``support_desk_replies`` four, with one to five stars each, for methods that compare.
Thumbs become rewards of -1 and 1, stars of -1 to 1, normalised to mean 0 and variance 1
over the train split. ``reward_fn`` is the true reward, :func:`dro_jax.tasks.support_desk.reward.satisfaction`.
The files are shipped beside this one; ``generate.py`` makes them.
"""

from pathlib import Path
from typing import Any

from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import FeedbackTask, register_feedback_task
from dro_jax.tasks.support_desk.reward import best_possible, satisfaction

_FOLDER = Path(__file__).resolve().parent



def _register(name: str, prefix: str, **settings: Any) -> FeedbackTask:
    files = {
        split: _FOLDER / f"{prefix}{split}.jsonl.gz" for split in ("train", "validation")
    }
    return register_feedback_task(
        name,
        JsonlSource(files),
        vocabulary=_FOLDER / "support_desk.model",
        reward_transform="normalize",
        reward_fn=satisfaction,
        best_response_fn=lambda prompt: best_possible(prompt)[0],
        **settings,
    )


SUPPORT_DESK = _register(
    "support_desk", "", reward_field="thumb", reward_kind="thumbs"
)
SUPPORT_DESK_REPLIES = _register(
    "support_desk_replies",
    "replies_",
    reward_field="stars",
    reward_kind="likert",
    likert_range=(1, 5),
)
