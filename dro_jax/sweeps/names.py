"""`$NAME` in a stage's files and values: an earlier run's folder, or the sweep's."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
