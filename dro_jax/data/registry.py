"""Tasks and mixtures by name, without seqio; and with it, where a program imports it.

What is registered here is in seqio's registries too from the moment that seqio is
imported (`dro_jax.data.seqio_tasks`), and from then on these say what there is: a
program may remove a task there, or register mixtures and tasks of its own.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dro_jax.errors import ConfigError

# As seqio has it.
_NAME = re.compile(r"[\w\d.:_#]+")


class Task(Protocol):
    """A task, here a `FeedbackTask`, in seqio's registry a `seqio.Task`."""

    name: str


Rate = float | Callable[[Any], float]


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Tasks that are read together.

    Attributes:
      name: its own.
      tasks: ordered by their names.
      rate: of each, by which records are drawn, or a function of the task.
    """

    name: str
    tasks: tuple[Task, ...]
    rate: Rate


class Other(Protocol):
    """seqio's registries, as `dro_jax.data.seqio_tasks` sees them."""

    def add_task(self, task: Task) -> None: ...

    def add_mixture(self, mixture: Mixture) -> None: ...


_tasks: dict[str, Task] = {}
_mixtures: dict[str, Mixture] = {}
_others: list[Other] = []


def connect(other: Other) -> None:
    """Adds all that is registered to other registries, and from now on what will be."""
    for task in list(_tasks.values()):
        other.add_task(task)
    for mixture in list(_mixtures.values()):
        other.add_mixture(mixture)
    # Until then they do not say what there is.
    _others.append(other)


def add(task: Task) -> None:
    """Registers a task.

    Raises:
      ConfigError: the name is none.
    """
    _check_name(task.name)
    _tasks[task.name] = task
    for other in _others:
        other.add_task(task)


def add_mixture(name: str, tasks: Sequence[str], rate: Rate) -> None:
    """Registers a mixture of registered tasks.

    Raises:
      ConfigError: the name is none, or is taken; or there is no task, or none of a name.
    """
    _check_name(name)
    if name in task_names() | mixture_names():
        raise ConfigError(
            f"a task or mixture called '{name}' is registered already: choose another name"
        )
    unknown = ", ".join(sorted(set(tasks) - task_names()))
    if unknown or not tasks:
        raise ConfigError(
            f"the mixture '{name}' cannot be registered: "
            + (f"no task is called {unknown}" if unknown else "it has no tasks")
        )
    found = tuple(task(one) for one in sorted(set(tasks)))
    _mixtures[name] = Mixture(name, found, rate)
    for other in _others:
        other.add_mixture(_mixtures[name])


def remove(name: str) -> None:
    """Forgets a task or mixture."""
    for known, kept in (("TaskRegistry", _tasks), ("MixtureRegistry", _mixtures)):
        kept.pop(name, None)
        if (theirs := _seqio(known)) is not None and name in theirs.names():
            theirs.remove(name)


def task_names() -> set[str]:
    """Of all tasks, seqio's own too where there is seqio."""
    return _names("TaskRegistry", _tasks)


def mixture_names() -> set[str]:
    """Likewise of mixtures."""
    return _names("MixtureRegistry", _mixtures)


def task(name: str) -> Any:
    """The task of that name: one registered here, or seqio's.

    Raises:
      KeyError: there is none.
    """
    if name not in task_names():
        raise KeyError(name)
    if name in _tasks and not _others:
        return _tasks[name]
    # Who removed a task there may have given its name to another.
    found = _seqio("TaskRegistry").get(name)
    return getattr(found, "feedback", found)


def mixture(name: str) -> list[tuple[Any, Callable[[], float]]]:
    """The tasks of a mixture, ordered by their names, and what gives their rates.

    Raises:
      KeyError: there is none.
    """
    if name not in mixture_names():
        raise KeyError(name)
    if name in _mixtures and not _others:
        found = _mixtures[name]
        return [(one, _Rate(found.rate, one)) for one in found.tasks]
    theirs = _seqio("MixtureRegistry").get(name)
    return [(one, _Rate(theirs.get_rate, one)) for one in theirs.tasks]


@dataclasses.dataclass(frozen=True)
class _Rate:
    rate: Rate
    task: Any

    def __call__(self) -> float:
        return float(self.rate(self.task) if callable(self.rate) else self.rate)


def _names(known: str, ours: dict[str, Any]) -> set[str]:
    theirs = _seqio(known)
    if theirs is None or not _others:
        return set(ours) | (set(theirs.names()) if theirs else set())
    names = set(theirs.names())
    for name in set(ours) - names:
        del ours[name]  # removed there
    return names


def _seqio(registry: str) -> Any:
    """One of seqio's registries; None where seqio is not imported."""
    return getattr(sys.modules.get("seqio"), registry, None)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"task '{name}' cannot be registered: a name has letters, digits and _.:#"
        )
