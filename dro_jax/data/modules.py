"""Modules that register tasks."""

import importlib
from collections.abc import Sequence

from dro_jax.errors import ConfigError


def import_modules(modules: str | Sequence[str] | None) -> None:
    """Imports modules that register tasks.

    Args:
      modules: a name, several separated by commas, a sequence of names, or None.

    Raises:
      ConfigError: there is no such module.
    """
    names = modules.split(",") if isinstance(modules, str) else modules or ()
    for name in filter(None, map(str.strip, names)):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                raise
            raise ConfigError(
                f"the module '{name}', named in DatasetConfig.module, cannot be found: "
                "check its spelling, and that its folder is on PYTHONPATH"
            ) from error
