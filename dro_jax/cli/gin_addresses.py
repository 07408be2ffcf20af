"""Where gin files may send texts and keys to: only where the person said so.

A file from elsewhere could name a server of its writer's, and the variable in which
somebody's key lies. What is typed on the command line is the person's own word; what a
file says by itself needs `--allow_import` of the module that would send it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import gin

from dro_jax.cli.gin_allow import AllowList
from dro_jax.cli.gin_files import GinFiles, contained, place
from dro_jax.errors import ConfigError

_SENDERS = ("dro_jax.rewards", "dro_jax.judges")
_ARGUMENTS = {
    "url": "where texts are sent",
    "key_variable": "which key is sent",
}


def check_addresses(files: GinFiles, typed: Sequence[Any], allowed: AllowList) -> None:
    """Refuses addresses and variables of keys that a file names, and nobody typed.

    Args:
      files: the files.
      typed: the command line's statements.
      allowed: the modules that files are trusted with.

    Raises:
      ConfigError: naming file, line and flag.
    """
    said = {
        text
        for statement in typed
        for text in contained(getattr(statement, "value", None))
        if isinstance(text, str)
    }
    for setting, module, value, macro in _settings():
        if value in said or allowed.trusts(module):
            continue
        argument = setting.rpartition(".")[2]
        what = _ARGUMENTS[argument]
        if not isinstance(value, str):
            raise ConfigError(f"gin: {setting} must be a text, {what}, and no function")
        flag = f"--gin.{macro or setting}={value}"
        where = _place(files.statements, value) or setting
        raise ConfigError(
            f"{where}: a file does not say by itself {what}. If that is your wish, type "
            f"it, {flag}, or trust the file with it: --allow_import={module}"
        )


def _settings() -> Iterator[tuple[str, str, Any, str]]:
    """Each that is not empty: its name, its module, its value, the macro behind it."""
    for (_, selector), bindings in gin.config._CONFIG.items():
        thing = gin.config._REGISTRY[selector].wrapped
        module = getattr(thing, "__module__", "")
        if not any(module == p or module.startswith(f"{p}.") for p in _SENDERS):
            continue
        for argument, value in bindings.items():
            if argument in _ARGUMENTS:
                value, macro = _filled_in(value, "")
                if value not in ("", None):
                    yield f"{selector}.{argument}", module, value, macro


def _filled_in(value: Any, macro: str) -> tuple[Any, str]:
    """What a macro stands for, and the macro's name."""
    if not isinstance(value, gin.config.ConfigurableReference):
        return value, macro
    if value.configurable.selector != "gin.macro" or not value.evaluate:
        return value, macro
    name = "/".join(value.scopes)
    found = gin.config._CONFIG.get((name, "gin.macro"), {})
    return _filled_in(found.get("value"), name)


def _place(statements: Sequence[Any], text: str) -> str | None:
    for statement in reversed(statements):
        if text in list(contained(getattr(statement, "value", None))):
            return place(statement.location)
    return None
