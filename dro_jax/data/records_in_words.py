"""Where the records of a split come from, and single ones of them in words."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.interface import Dataset

MOST_VALUES = 20  # of a field that are told apart
OTHERS, MISSING = "others", "not said"
TASK = "task"
_MOST_LETTERS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """What some or all records of a split are told apart by.

    Attributes:
      kind: `task`, or the name of a field.
      names: of the kinds of records, in the order in which they were met.
      codes: ``[R]`` int16, places in `names`; −1 of records that have none.
    """

    kind: str
    names: Sequence[str]
    codes: np.ndarray


@dataclasses.dataclass(frozen=True)
class RecordInWords:
    """A record for people: who it is, the task's name, and its texts as read."""

    identity: str
    task: str
    prompt: str
    response: str


def labels_of(dataset: Dataset) -> list[Labels]:
    """What the records of a data set are told apart by.

    The task, where there are several; and for each task that was registered with a
    `source_field`, the values of that field, which are read of the raw records once more.
    Nothing of a data set that is made of no tasks.

    Args:
      dataset: whose `prompt_records` come in the same order.
    """
    tasks = _tasks(dataset)
    counts = [len(task.records(dataset.split)) for task in tasks]
    found = []
    if len(tasks) > 1:
        names = [task.name for task in tasks]
        found.append(Labels(TASK, names, _joined(range(len(tasks)), counts)))
    fields = {task.source_field for task in tasks if task.source_field}
    for field in sorted(fields):
        names: dict[str, int] = {}
        codes = [
            _field_codes(task, dataset.split, names)
            if task.source_field == field
            else _joined([-1], [count])
            for task, count in zip(tasks, counts, strict=True)
        ]
        found.append(Labels(field, tuple(names), scratch.joined(codes)))
    return found


def in_words(dataset: Dataset, entries: Sequence[int]) -> list[RecordInWords]:
    """Records by their places in the data set's `prompt_records`.

    Nothing of a data set that is made of no tasks.
    """
    found, tasks = [], _tasks(dataset)
    ends = np.cumsum([len(task.records(dataset.split)) for task in tasks])
    for entry in map(int, entries) if tasks else ():
        number = int(np.searchsorted(ends, entry, side="right"))
        records = tasks[number].records(dataset.split)
        place = entry - int(ends[number] - len(records))
        texts = (records.texts([place], side)[0] for side in ("inputs", "targets"))
        identity = records.identity(place)
        found.append(RecordInWords(identity, tasks[number].name, *texts))
    return found


def _tasks(dataset: Dataset) -> list[Any]:
    tasks = getattr(dataset, "tasks", tuple)()
    return [task for task in tasks if dataset.split in task.splits]


def _joined(codes: Sequence[int], counts: Sequence[int]) -> np.ndarray:
    return np.repeat(np.asarray(codes, np.int16), counts)


def _field_codes(task: Any, split: str, names: dict[str, int]) -> np.ndarray:
    """``[N]`` codes of a task's valid records, whose new names are added."""
    indices = task.records(split).indices
    values = _values(task, split)
    codes, place = np.empty(len(indices), np.int16), -1
    for entry, index in enumerate(_one_by_one(indices)):
        while place < index:
            value, place = next(values), place + 1
        if value not in names and len(names) >= MOST_VALUES:
            value = OTHERS
        codes[entry] = names.setdefault(value, len(names))
    return codes


def _values(task: Any, split: str) -> Iterator[str]:
    for raw in task.raw_source.records(split):
        value = (raw.fields or {}).get(task.source_field)
        yield MISSING if value is None else str(value)[:_MOST_LETTERS]


def _one_by_one(indices: np.ndarray) -> Iterator[int]:
    for part in scratch.chunks(len(indices)):
        yield from indices[part].tolist()
