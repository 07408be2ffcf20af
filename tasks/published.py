"""Tasks over files that others publish: where they lie, and runs' own vocabularies."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import DROP, RawRecord
from dro_jax.data.sources import JsonlSource, Paths
from dro_jax.data.store.units import Unit
from dro_jax.data.tasks import FeedbackTask, register_feedback_task
from dro_jax.errors import ConfigError
from dro_jax.tasks.made_by_settings import made_once

FOLDER_VARIABLE = "DRO_JAX_DATA"
BYTES = "byte"
_CHECKOUT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """The folder of published files: `$DRO_JAX_DATA`, else `shared/data` beside us."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given or _CHECKOUT.parent / "shared" / "data").expanduser()


def published_files(
    files: Mapping[str, str | Sequence[str]],
    advice: str,
    columns: Sequence[str] | None = None,
) -> JsonlSource:
    """Files of the data folder.

    Args:
      files: split name to a path within that folder, a glob, or several.
      advice: where people get the files, or the command that makes them.
      columns: names of the cells of a table that has no row of names.
    """
    folder = data_folder()
    paths: dict[str, Paths] = {
        split: [folder / file for file in ([own] if isinstance(own, str) else own)]
        for split, own in files.items()
    }
    told = f"{advice} The folder {folder} is that of the environment variable "
    return JsonlSource(paths, advice=told + FOLDER_VARIABLE, columns=columns)


@dataclasses.dataclass(frozen=True)
class PublishedTask:
    """A task over published files, registered with bytes as its vocabulary.

    Nobody can correct such files, so records of them that cannot be used are left out,
    counted and listed, but where `on_bad_record` says otherwise.

    Attributes:
      name: the task's.
      about: what it is, in a line.
      source: makes the source of its records, where the task is registered; its
        arguments are options of runs.
      settings: of `register_feedback_task`.
    """

    name: str
    about: str
    source: Callable[..., RecordSource]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def register(
        self,
        name: str | None = None,
        vocabulary: Any = BYTES,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> FeedbackTask:
        """Registers it; `settings` take precedence over its own."""
        given = {"on_bad_record": DROP, **self.settings, **settings}
        if "scored_by" in given:
            given["reward_kind"] = "float"  # of scores, whatever the files hold
        return register_feedback_task(
            name or self.name,
            self.source(**(options or {})),
            vocabulary=vocabulary,
            about=self.about,
            **given,
        )


def task_of_run(
    known: Mapping[str, PublishedTask],
    kind: str,
    task: str,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> str:
    """The name of a published task with a run's settings, registered by the first call.

    Args:
      known: the tasks of a module, by name.
      kind: the function that gin names, for messages.
      task: which of them.
      options: of its source.
      **settings: `vocabulary`, `extra_ids`, `reward_transform`, `scored_by` and others
        of `register_feedback_task`; None, the task's own. `name` is what the made task
        is called, by default the task's name and `_of_run`.

    Raises:
      ConfigError: there is no such task, a setting cannot be used, or the name was
        registered with other settings.
    """
    if task not in known:
        names = ", ".join(map(repr, known))
        raise ConfigError(f"{kind}.task = {task!r} is unknown: use one of {names}")
    given = {name: value for name, value in settings.items() if value is not None}
    name = given.pop("name", f"{task}_of_run")
    # The folder too: a later run of this process may have another.
    others = {"task": task, "folder": str(data_folder())}
    made_of = {**given, **(options or {}), **others}
    return made_once(
        name,
        kind,
        made_of,
        lambda: known[task].register(name, options=options, **given),
    )


class JoinedSplits(RecordSource):
    """Splits of several sources as those of one.

    Args:
      splits: split name to the source that has a split of this name.
    """

    def __init__(self, splits: Mapping[str, RecordSource]):
        self._sources = dict(splits)

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._sources)

    def description(self) -> str:
        first = next(iter(self._sources.values())).description()
        others = len(set(map(id, self._sources.values()))) - 1
        return f"{first} and {others} more" if others else first

    def records(self, split: str) -> Iterator[RawRecord]:
        return self._sources[self.check_split(split)].records(split)

    def parts(self, split: str) -> Parts:
        return self._sources[self.check_split(split)].parts(split)

    def unit_records(self, split: str, unit: Unit) -> Iterator[RawRecord]:
        return self._sources[self.check_split(split)].unit_records(split, unit)
