"""Text built from a record's fields: `'Question: {prompt}'`."""

import math
import string
from collections.abc import Mapping
from typing import Any

from dro_jax.data.records import RecordProblem
from dro_jax.errors import ConfigError


class Template:
    """A text with fields in braces; `{{` and `}}` stand for braces.

    Args:
      text: the template; a field is a plain name, without format or attribute.
      setting: the setting it came from, for messages.

    Raises:
      ConfigError: it cannot be parsed or names no field.
    """

    def __init__(self, text: str, setting: str):
        self.text = text
        self._setting = setting
        self._parts = _parse(text, setting)
        self.fields = tuple(
            dict.fromkeys(name for _, name in self._parts if name is not None)
        )
        if not self.fields:
            raise ConfigError(
                f"{setting} = {text!r} names no field, so every record would give the "
                "same text: write for example '{prompt}'"
            )

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for one record.

        Raises:
          RecordProblem: a field is missing or is neither text nor a number.
        """
        return "".join(
            literal if name is None else literal + self._value(name, values)
            for literal, name in self._parts
        )

    def _value(self, name: str, values: Mapping[str, Any]) -> str:
        if name not in values:
            raise RecordProblem(
                "missing_field", f"field '{name}' of {self._setting} is missing"
            )
        value = values[name]
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, int) or math.isfinite(value):
                return str(value)
            raise RecordProblem(
                "wrong_type",
                f"field '{name}' of {self._setting} is {value}, not a finite number",
            )
        raise RecordProblem(
            "wrong_type",
            f"field '{name}' of {self._setting} is {describe_type(value)}, not text",
        )


def describe_type(value: Any) -> str:
    """What a value is, in the words of JSON."""
    if value is None:
        return "null"
    names = {bool: "a truth value", str: "text", list: "a list", dict: "an object"}
    if type(value) in names:
        return names[type(value)]
    if isinstance(value, str):
        return names[str]
    if isinstance(value, int | float):
        return "a number"
    return f"a {type(value).__name__}"


def _parse(text: str, setting: str) -> list[tuple[str, str | None]]:
    if not isinstance(text, str):
        raise ConfigError(f"{setting} must be text, not {describe_type(text)}")
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(
            f"{setting} = {text!r} cannot be parsed ({error}): write fields as "
            "'{prompt}' and a brace itself twice, '{{' or '}}'"
        ) from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name.isidentifier() or spec or conversion):
            raise ConfigError(
                f"{setting} = {text!r} has a field that is not a plain name in braces: "
                "formats, attributes, indices and empty braces are not supported"
            )
    return [(literal, name) for literal, name, _, _ in parts]
