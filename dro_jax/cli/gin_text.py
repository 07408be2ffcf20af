"""Python values as gin writes them."""

import re
from collections.abc import Mapping
from typing import Any

from dro_jax.cli.gin_files import COMMAND_LINE, Macro, Reference, parse_statements
from dro_jax.errors import ConfigError

_REFERENCE = re.compile(r"[@%]\w")


def as_text(name: str, value: Any) -> str:
    """A value as it stands behind `NAME =`.

    A text that is a reference of gin's, `@optimizers.adamw()` or `%LEARNING_RATE`, is
    written without quotes, and so is one within a list or a dictionary.

    Args:
      name: what it is a value of, for the error.
      value: numbers, texts, True, False, None, lists and dictionaries of these.

    Raises:
      ConfigError: gin has no way to write it.
    """
    text = _written(value)
    if _parsed(text) is None:
        raise ConfigError(
            f"{name} = {value!r:.80} cannot be written in gin: give numbers, texts, True, "
            "False, None, lists or dictionaries; what gin builds is given as text, "
            "'@optimizers.adamw()'"
        )
    return text


def _written(value: Any) -> str:
    if isinstance(value, str):
        # gin reads `@ home` as a reference too; a person who writes that means text.
        is_like_one = _REFERENCE.match(value) is not None
        is_one = is_like_one and isinstance(_parsed(value), Macro | Reference)
        return value if is_one else repr(value)
    if isinstance(value, Mapping):
        pairs = (f"{_written(key)}: {_written(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if type(value) is list:
        return f"[{', '.join(map(_written, value))}]"
    if type(value) is tuple:
        items = [_written(item) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    return repr(value)


def _parsed(text: str) -> Any:
    """What gin reads in a text, in a tuple where it is None; None where nothing."""
    try:
        (statement,) = parse_statements(f"X = {text}\n", COMMAND_LINE)
    except (ConfigError, ValueError):
        return None
    return (None,) if statement.value is None else statement.value
