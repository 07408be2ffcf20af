"""The tasks behind a name, which may be a task's or a mixture's."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from dro_jax.data import registry
from dro_jax.data.feedback_task import FeedbackTask, as_feedback_task
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.rewards import Float
from dro_jax.data.task_names import unknown_name
from dro_jax.data.vocabularies import describe_vocabulary
from dro_jax.errors import ConfigError


def tasks_and_rates(name: str, module: Any = None) -> list[tuple[FeedbackTask, float]]:
    """Tasks with their mixing rates, ordered by name.

    Args:
      name: a registered task's or mixture's.
      module: what was imported before, for the message.

    Raises:
      ConfigError: the name is unknown, a task has no feedback, or tasks of a mixture
        differ in what they must share.
    """
    if name in registry.mixture_names():
        parts = [
            (as_feedback_task(task), rate) for task, rate in registry.mixture(name)
        ]
        shares = [(task, rate()) for task, rate in parts]
        _check_alike(name, [task for task, _ in shares])
        return shares
    if name in registry.task_names():
        return [(as_feedback_task(registry.task(name)), 1.0)]
    raise unknown_name(name, module)


def task_for_inputs(name: str, module: Any = None) -> FeedbackTask:
    """The task that says how records without feedback are read.

    Args:
      name: a task's, or that of a mixture whose tasks read prompts and responses alike.
      module: what was imported before, for the message.

    Raises:
      ConfigError: as :func:`tasks_and_rates`, or the tasks do not read alike.
    """
    tasks = [task for task, _ in tasks_and_rates(name, module)]
    texts = {_how_texts_are_read(task.source.record_format) for task in tasks}
    if len(texts) > 1:
        raise ConfigError(
            f"the tasks of the mixture '{name}' have prompts and responses in different "
            "fields or templates: say whose these records are, "
            + " or ".join(f"--gin.MIXTURE_OR_TASK_NAME={task.name}" for task in tasks)
        )
    return tasks[0]


def _how_texts_are_read(record_format: RecordFormat) -> str:
    return repr(
        dataclasses.replace(
            record_format, reward_field="reward", reward_kind=Float(), id_field=None
        )
    )


def _check_alike(mixture: str, tasks: Sequence[FeedbackTask]) -> None:
    first = tasks[0]
    for task in tasks[1:]:
        if task.vocabulary != first.vocabulary:
            raise ConfigError(
                f"mixture '{mixture}': tasks '{first.name}' and '{task.name}' have "
                f"different vocabularies ({describe_vocabulary(first.vocabulary)} and "
                f"{describe_vocabulary(task.vocabulary)}): give them the same one"
            )
        if task.truncation != first.truncation:
            raise ConfigError(
                f"mixture '{mixture}': tasks '{first.name}' and '{task.name}' cut "
                f"prompts and responses on different sides ({first.truncation} and "
                f"{task.truncation}): register them with the same prompt_truncation and "
                "response_truncation"
            )
