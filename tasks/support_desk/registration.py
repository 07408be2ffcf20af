"""What all tasks of the support desk have in common."""

from pathlib import Path
from typing import Any

from dro_jax.data.record_source import RecordSource
from dro_jax.data.tasks import FeedbackTask, register_feedback_task
from dro_jax.tasks.support_desk.reward import best_possible, satisfaction

FOLDER = Path(__file__).resolve().parent
THUMBS = {"reward_field": "thumb", "reward_kind": "thumbs"}
STARS = {"reward_field": "stars", "reward_kind": "likert", "likert_range": (1, 5)}


def register(name: str, source: RecordSource, **settings: Any) -> FeedbackTask:
    """Registers a task with the support desk's vocabulary and true reward.

    Args:
      name: the task's.
      source: yields prompts, responses and feedback.
      **settings: of `register_feedback_task`, as to how feedback is read.
    """
    return register_feedback_task(
        name,
        source,
        vocabulary=FOLDER / "support_desk.model",
        reward_transform="normalize",
        reward_fn=satisfaction,
        best_response_fn=lambda prompt: best_possible(prompt)[0],
        **settings,
    )
