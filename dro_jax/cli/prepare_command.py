"""`dro-jax tasks prepare NAME`: a task's splits prepared before runs need them.

Several processes of this machine share the work (`--workers`), or the workers of an
Apache Beam pipeline (`--runner`).
"""

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from dro_jax.data.mixtures import tasks_and_rates
from dro_jax.data.records import RecordReport
from dro_jax.data.store import preparation
from dro_jax.data.store.finishing import is_whole
from dro_jax.data.tasks import FeedbackTask
from dro_jax.errors import ConfigError
from dro_jax.messages import say


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A split that is prepared.

    Attributes:
      task: its name.
      folder: where its store is.
      report: the account of its records.
      was_there: whether nothing had to be done.
    """

    task: str
    folder: str
    report: RecordReport
    was_there: bool

    def to_text(self) -> str:
        """A sentence or two."""
        done = "was prepared already" if self.was_there else "is prepared"
        return f"task '{self.task}', {self.report.summary()}: {done}, in {self.folder}"

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON holds."""
        return {"task": self.task, "folder": self.folder, **self.report.to_json()}


def run(arguments: Any, name: str) -> None:
    """Prepares the splits of a task, or of a mixture's tasks.

    Raises:
      ConfigError: a setting cannot be used, or runs cannot share what would be prepared.
      DataError: a split cannot be used; the message names the record.
    """
    chosen = list(_splits_of(name, arguments.split))
    for task, split in chosen:
        if preparation.store_folder(task, split) is None:
            raise ConfigError(
                f"task '{task.name}' cannot be prepared for other runs: what split "
                f"'{split}' of {task.source} holds, or the code or vocabulary that reads "
                "it, cannot be told from another time's, so each run prepares it for "
                "itself. Write its records to files, and register a JsonlSource of these"
            )
    with contextlib.ExitStack() as stack:
        if arguments.workers > 1:
            stack.enter_context(_helpers(arguments, name))
        prepared = [_prepare(arguments, task, split) for task, split in chosen]
    for one in prepared:
        print(one.to_text())
    if arguments.json:
        arguments.json.write_json([one.to_json() for one in prepared])


def _splits_of(name: str, splits: str | None) -> Iterator[tuple[FeedbackTask, str]]:
    """The tasks and splits that are meant.

    Raises:
      ConfigError: the name, or the split of all its tasks, is unknown.
    """
    tasks = [task for task, _ in tasks_and_rates(name, None)]
    wanted = [split for split in (splits or "").split(",") if split]
    for split in wanted:
        if not any(split in task.splits for task in tasks):
            known = sorted({split for task in tasks for split in task.splits})
            raise ConfigError(
                f"'{name}' has no split '{split}': its splits are {', '.join(known)}"
            )
    for task in tasks:
        for split in wanted or task.splits:
            if split in task.splits:
                yield task, split


def _prepare(arguments: Any, task: FeedbackTask, split: str) -> Prepared:
    folder = preparation.store_folder(task, split)
    was_there = is_whole(folder)
    if arguments.runner and not was_there:
        from dro_jax.cli import beam_pipeline

        beam_pipeline.prepare(arguments, task, split, folder)
    records = preparation.prepare(task, split)
    return Prepared(task.name, str(records.folder), records.report, was_there)


@contextlib.contextmanager
def _helpers(arguments: Any, name: str) -> Iterator[None]:
    """More processes with the same command, which take parts of the work.

    What fails in one of them fails in this process too, which does what they leave: its
    message is the one that is read.
    """
    count = arguments.workers - 1
    say(f"starting {count} more process{'es' if count > 1 else ''} …")
    command = [sys.executable, "-m", "dro_jax.cli.main", *_same(arguments, name)]
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def _same(arguments: Any, name: str) -> list[str]:
    """The command line for one process."""
    flags = ["tasks", "prepare", name]
    for flag in ("module", "gin_file", "allow_import"):
        flags += [f"--{flag}={value}" for value in getattr(arguments, flag) or ()]
    for flag in ("gin_search_paths", "split", "prepared_dir"):
        if value := getattr(arguments, flag):
            flags.append(f"--{flag}={value}")
    bindings = (binding.split(" = ", 1) for binding in arguments.gin_bindings)
    return flags + [f"--gin.{setting}={value}" for setting, value in bindings]
