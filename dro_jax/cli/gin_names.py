"""The names that gin files and flags set and use, known from their statements alone.

Nothing is imported for this, so that a misspelt name is refused at once.
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from gin import config_parser

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import (
    Macro,
    Reference,
    contained,
    parse_statements,
)
from dro_jax.errors import ConfigError
from dro_jax.messages import note
from dro_jax.shipped_names import FOLDER

# What a run file says of the slice that it is made for: no setting of the run itself.
SLICE = "SLICE"
_REQUIRED = Macro("gin.REQUIRED")


def check_names(
    files: Sequence[Any],
    typed: Sequence[Any],
    tell: Callable[[str], None] | None = note,
    asked_for: Sequence[str] = (),
) -> None:
    """Refuses a name that is typed and not used, and one that is used and not set.

    Args:
      files: statements of all files, in their order.
      typed: those of the command line.
      tell: is given a sentence about what only another objective's file uses.
      asked_for: names that the command itself reads.

    Raises:
      ConfigError: there is one.
    """
    configuration = Configuration.of([*files, *typed])
    used = _used(configuration) | {SLICE}
    for statement in typed:
        name = _macro_set_by(statement)
        if name is not None and name not in used and name not in asked_for:
            _unused(name, used, configuration, tell)
    _refuse_missing(configuration)


def _unused(name: str, used: set[str], configuration: Configuration, tell) -> None:
    if name in _settings_of_objectives():
        if tell is not None:
            tell(f"{name} is not used by {_objective(configuration)}")
        return
    near = difflib.get_close_matches(name, used, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise ConfigError(
        f"--gin.{name} sets a name that no gin file uses{hint} The names in use, which "
        "`dro-jax settings` explains: " + ", ".join(sorted(used))
    )


def missing_names(configuration: Configuration) -> list[str]:
    """The names that are used and not set, or marked as required."""
    macros = configuration.macros
    required = {name for name, value in macros.items() if value == _REQUIRED}
    return sorted(required | (_used(configuration) - set(macros)))


def _refuse_missing(configuration: Configuration) -> None:
    if missing := missing_names(configuration):
        raise ConfigError(
            "required settings are missing: "
            + ", ".join(missing)
            + ". Set them in a gin file, or with "
            + " ".join(f"--gin.{name}=…" for name in missing)
        )


def _used(configuration: Configuration) -> set[str]:
    values = [*configuration.bindings.values(), *configuration.macros.values()]
    return {
        part.name
        for value in values
        for part in contained(value)
        if isinstance(part, Macro) and not part.name.startswith("gin.")
    }


def _macro_set_by(statement: Any) -> str | None:
    if not isinstance(statement, config_parser.BindingStatement):
        return None
    if statement.arg_name or statement.scope or "." in statement.selector:
        return None
    return statement.selector


def _settings_of_objectives() -> set[str]:
    """The names that the shipped objective files set, each for itself."""
    return {
        name
        for path in (FOLDER / "gin_configs/objectives").glob("*.gin")
        for statement in parse_statements(path.read_text("utf-8"), str(path))
        if (name := _macro_set_by(statement))
    }


def _objective(configuration: Configuration) -> str:
    value = configuration.macros.get("OBJECTIVE")
    if isinstance(value, Reference):
        return value.selector.rpartition(".")[2]
    return "these gin files"
