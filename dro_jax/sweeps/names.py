"""`$NAME` in a stage's files and values: an earlier run's folder, or the sweep's."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dro_jax.errors import ConfigError

SWEEP_DIR = "SWEEP_DIR"
_NAME = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


def names_in(value: Any) -> Iterator[str]:
    """Each NAME of a `$NAME` in a text, or in the texts that a value holds."""
    if isinstance(value, str):
        for match in _NAME.finditer(value):
            yield match[1] or match[2]
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from names_in(pair)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names_in(item)


def check_known(names: Iterable[str], known: Sequence[str], where: str) -> None:
    """Refuses a `$NAME` that stands for nothing.

    Args:
      names: those that are used.
      known: the stages that may be meant.
      where: they are used, for the error.

    Raises:
      ConfigError: one is neither a stage, nor the sweep's folder, nor a variable.
    """
    for name in names:
        if name in known or name == SWEEP_DIR or name in os.environ:
            continue
        near = difflib.get_close_matches(name, [*known, SWEEP_DIR], n=1)
        meant = f"; did you mean ${near[0]}?" if near else "."
        raise ConfigError(
            f"{where}: ${name} is neither an earlier stage nor an environment variable "
            f"that is set{meant} Earlier stages: {', '.join(known) or 'none'}"
        )


def filled_in(
    text: str,
    values: Mapping[str, str],
    written: Callable[[str], str] = lambda value: value,
) -> str:
    """The text with the values of the names that have one in place of `$NAME`.

    Args:
      text: which may have other `$NAME` too, as of environment variables.
      values: by NAME.
      written: what is put into the text for a value.
    """

    def value_of(match: re.Match) -> str:
        name = match[1] or match[2]
        return written(values[name]) if name in values else match[0]

    return _NAME.sub(value_of, text)


def in_quotes(text: str) -> str:
    """A text as it stands between quotes of either kind, in gin."""
    return re.sub(r"([\\'\"])", r"\\\1", text)
