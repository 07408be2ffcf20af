"""Modules that register tasks."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence

from dro_jax.data import registry
from dro_jax.errors import ConfigError
from dro_jax.shipped_names import new_name

# Of tasks that modules registered here: a module registers them once, and not again for
# a second run of the process.
_OF_MODULES: set[str] = set()
_SETTING = "MIXTURE_OR_TASK_MODULE (module)"


def module_names(modules: str | Sequence[str] | None) -> list[str]:
    """A name, several separated by commas, a sequence of names, or None; as a list."""
    names = modules.split(",") if isinstance(modules, str) else modules or ()
    return [name.strip() for name in names if name.strip()]


def look_in_current_folder(modules: str | Sequence[str] | None, named_by: str) -> None:
    """Makes modules of the current folder importable, behind all that is installed.

    For those that a person typed; what a file names is not looked for there.

    Args:
      modules: as for :func:`import_modules`.
      named_by: what the person typed, for the message.

    Raises:
      ConfigError: there is no such module. Nothing is imported to know this.
    """
    names = module_names(modules)
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        top = name.partition(".")[0]
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            raise _not_found(name, named_by)


def import_modules(
    modules: str | Sequence[str] | None, named_by: str = _SETTING
) -> None:
    """Imports modules that register tasks.

    Args:
      modules: a name, several separated by commas, a sequence of names, or None; of
        those that ship, by their old names too.
      named_by: the flag or setting that names them, for the message.

    Raises:
      ConfigError: there is no such module.
    """
    for name in module_names(modules):
        before = registry.task_names()
        try:
            importlib.import_module(new_name(name))
            _OF_MODULES.update(registry.task_names() - before)
        except ModuleNotFoundError as error:
            if error.name and not f"{name}.".startswith(f"{error.name}."):
                raise
            raise _not_found(name, named_by) from error


def tasks_of_modules() -> frozenset[str]:
    """The names of tasks that :func:`import_modules` has registered in this process."""
    return frozenset(_OF_MODULES)


def _not_found(name: str, named_by: str) -> ConfigError:
    return ConfigError(
        f"the module '{name}', named by {named_by}, cannot be found: check its "
        "spelling. One that is typed on the command line is looked for in the current "
        "folder too; for any other put its folder on PYTHONPATH"
    )
