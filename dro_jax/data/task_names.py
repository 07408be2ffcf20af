"""Names of tasks: those that are free, and those that nobody has."""

import difflib
from typing import Any

from dro_jax.data import registry
from dro_jax.data.feedback_source import fingerprint
from dro_jax.errors import ConfigError


def check_name_is_free(name: str) -> None:
    """Refuses a name for a new task that others have, or that records could not tell.

    Raises:
      ConfigError: it is such a name.
    """
    if name in registry.task_names() | registry.mixture_names():
        raise ConfigError(
            f"a task or mixture called '{name}' is registered already: choose another "
            "name, or make sure that the module is imported only once"
        )
    for other in registry.task_names():
        if fingerprint(other) == fingerprint(name):
            raise ConfigError(
                f"the names '{name}' and '{other}' share a fingerprint, so their "
                "records could not be told apart: choose another name"
            )


def unknown_name(name: str, module: Any = None) -> ConfigError:
    """The error for a name that no task or mixture has, with names that are near."""
    known = sorted(registry.task_names() | registry.mixture_names())
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    meant = f" Near names: {', '.join(near)}." if near else ""
    imported = f", after importing {module!r}" if module else ""
    return ConfigError(
        f"no task or mixture is called '{name}'{imported}.{meant} A task exists once the "
        "module that registers it has been imported: name that module by --module of "
        "'dro-jax tasks', or MIXTURE_OR_TASK_MODULE (DatasetConfig.module), as "
        "'dro_jax.tasks.hha' ('dro-jax tasks list' shows the rest)"
    )
