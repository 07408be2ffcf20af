"""`dro-jax tasks prepare --runner NAME`: a split prepared by a Beam pipeline.

Apache Beam is an extra, `pip install dro-jax[beam]`. Workers are sent names and plain
values alone: each imports the modules that register the task, reads one part of the
split, and writes it into the store's folder, which all of them see.
"""

import dataclasses
import logging
import pathlib
import re
import shutil
import threading
from collections.abc import Sequence
from typing import Any

from dro_jax.cli.task_modules import import_tasks, named_task
from dro_jax.data import registry
from dro_jax.data.modules import look_in_current_folder
from dro_jax.data.store import preparation
from dro_jax.data.store.finishing import is_whole
from dro_jax.data.store.units import Unit
from dro_jax.data.tasks import FeedbackTask, feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import say

# What a worker needs to register the tasks that this process has registered.
_SOURCES = ("module", "gin_file", "gin_bindings", "gin_search_paths", "allow_import")
# Runners hand an error over as text, with the trace before it and the step behind it.
_OURS = re.compile(
    r"(?:dro_jax\.errors\.)?(?:DataError|ConfigError): (.+?)"
    r"(?= \[while running|\\n|\n|\Z)"
)
_lock = threading.Lock()

Job = dict[str, Any]


def prepare(
    arguments: Any, task: FeedbackTask, split: str, folder: pathlib.Path
) -> None:
    """Runs the pipeline and waits for its end.

    Args:
      arguments: of the command: `runner`, `runner_flags`, and what registers the task.
      task: a task.
      split: one of its splits.
      folder: of the split's store.

    Raises:
      ConfigError: Beam is not installed or cannot run so.
      DataError: a record or the source cannot be used.
    """
    beam, options = _beam(arguments.runner, arguments.runner_flags)
    every = preparation.units(task, split)
    job = {
        "sources": {name: getattr(arguments, name) for name in _SOURCES},
        "task": task.name,
        "split": split,
        "folder": str(folder),
    }
    parts = [{**job, "unit": dataclasses.asdict(unit)} for unit in every]
    say(f"a pipeline of {len(parts)} parts on {arguments.runner} …")
    # What fails is told here, in a sentence.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    try:
        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | "parts" >> beam.Create(parts)
                | "spread" >> beam.Reshuffle()
                | "write a part" >> beam.Map(write_part)
                | "all" >> beam.combiners.ToList()
                | "finish" >> beam.Map(finish, job)
            )
    except Exception as error:
        if not is_whole(folder):
            if match := _OURS.search(str(error)):
                shutil.rmtree(folder, ignore_errors=True)
                raise DataError(match[1]) from error
            raise ConfigError(
                f"the pipeline failed on {arguments.runner} ({_end(error)}): parts that "
                f"are done are kept in {folder}, which all workers must see"
            ) from error


def write_part(job: Job) -> int:
    """Writes a part of a split; returns its number."""
    unit = Unit(**{**job["unit"], "status": _pair(job["unit"]["status"])})
    task = _registered(job)
    preparation.write_unit(task, job["split"], unit, pathlib.Path(job["folder"]))
    return unit.number


def finish(numbers: Sequence[int], job: Job) -> int:
    """Makes the store of all parts; returns how many."""
    preparation.finish(_registered(job), job["split"], pathlib.Path(job["folder"]))
    return len(numbers)


def _registered(job: Job) -> FeedbackTask:
    """The task, registered first in a process that does not have it."""
    with _lock:
        if job["task"] not in registry.task_names():
            look_in_current_folder(job["sources"]["module"], "--module")
            import_tasks(**job["sources"])
            named_task(job["task"], job["sources"]["gin_file"])
    return feedback_task(job["task"])


def _beam(runner: str, flags: Sequence[str]) -> tuple[Any, Any]:
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ConfigError(
            f"--runner {runner} needs Apache Beam, which cannot be imported "
            f"({error}): `pip install 'dro-jax[beam]'`, or leave --runner out and give "
            "--workers"
        ) from error
    try:
        options = PipelineOptions([f"--runner={runner}", *flags])
        beam.Pipeline(options=options)  # looks for the runner
    except (ValueError, ImportError, SystemExit) as error:
        raise ConfigError(f"--runner {runner}: {error}") from error
    return beam, options


def _pair(status: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if status is None else tuple(status)


def _end(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1][:500]
