"""Registers the seqio task ``support_desk``: logged replies with noisy thumbs.

Thumbs become rewards of -1 and 1, normalised to mean 0 and variance 1 over the train
split. ``reward_fn`` is the true reward, :func:`tasks.support_desk.reward.satisfaction`.
The files are shipped beside this one; ``generate.py`` makes them.
"""

from pathlib import Path

from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from tasks.support_desk.reward import best_possible, satisfaction

_FOLDER = Path(__file__).resolve().parent

SUPPORT_DESK = register_feedback_task(
    "support_desk",
    JsonlSource(
        {
            "train": _FOLDER / "train.jsonl.gz",
            "validation": _FOLDER / "validation.jsonl.gz",
        }
    ),
    vocabulary=_FOLDER / "support_desk.model",
    reward_field="thumb",
    reward_kind="thumbs",
    reward_transform="normalize",
    reward_fn=satisfaction,
    best_response_fn=lambda prompt: best_possible(prompt)[0],
)
