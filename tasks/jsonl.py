"""A task from files of feedback in any layout, its settings given by the run that uses it."""

import os
from typing import Any

from dro_jax.data.layouts import settings_of
from dro_jax.data.several_responses import jsonl_source
from dro_jax.data.sources import Paths
from dro_jax.data.tasks import FeedbackTask, register_feedback_task
from dro_jax.errors import ConfigError
from dro_jax.tasks.made_by_settings import made_once


def register_jsonl_task(
    name: str = "jsonl",
    *,
    train_path: Paths | None = None,
    validation_path: Paths | None = None,
    vocabulary: str | os.PathLike | Any,
    layout: str = "trajectories",
    encoding: str | None = None,
    **settings: Any,
) -> FeedbackTask:
    """Registers a feedback task over files: JSONL, JSON, CSV, TSV, Parquet or Arrow.

    In gin, where a reference is evaluated anew each time, use :func:`jsonl_task`.

    Args:
      name: the task's name.
      train_path: a file, a folder of files or a glob, or several of these, for the
        split `train`; plain or compressed, as `JsonlSource` takes them.
      validation_path: likewise for `validation`; None, no such split.
      vocabulary: `byte` or the path of a SentencePiece model.
      layout: what an object of the files holds, a name in `dro_jax.data.layouts`:
        `trajectories`, one; `pairs`, `chosen` and `rejected`; `hh_rlhf`, `oasst2`, ….
      encoding: of files of text, as `latin-1`; None, UTF-8, or UTF-16 with its mark.
      **settings: those of `dro_jax.data.tasks.register_feedback_task`, as
        `prompt_field`, `reward_kind`, `reward_transform`, `scored_by` or
        `on_bad_record`; None, as the layout has it.

    Raises:
      ConfigError: a path is missing, a setting cannot be used, or the name is taken.
    """
    if not train_path:
        raise ConfigError(
            f"task '{name}' has no file to read: set register_jsonl_task.train_path to "
            "a file with the fields prompt, response and reward, or name its own "
            "fields by prompt_field, response_field and reward_field"
        )
    if settings.get("scored_by") is not None and settings.get("reward_kind") is None:
        settings["reward_kind"] = "float"  # of scores, whatever the files hold
    files = {"train": train_path}
    if validation_path:
        files["validation"] = validation_path
    return register_feedback_task(
        name,
        jsonl_source(files, layout, encoding=encoding),
        vocabulary=vocabulary,
        **settings_of(layout, settings),
    )


def jsonl_task(name: str = "jsonl", *, scored_by: Any = None, **settings: Any) -> str:
    """The name of a task over files, registered by the first call.

    Args:
      name: the task's name.
      scored_by: see :func:`register_jsonl_task`. By a name of its own, so that runs
        which were saved before it was a setting go on: they had none.
      **settings: the others of :func:`register_jsonl_task`.

    Raises:
      ConfigError: as there, or the name was registered with other settings.
    """
    settings["scored_by"] = scored_by
    return made_once(
        name, "jsonl_task", settings, lambda: register_jsonl_task(name, **settings)
    )
