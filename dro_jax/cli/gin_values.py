"""Values of `--gin.NAME=VALUE`: text may come without quotes, and kinds are checked.

A shell takes one pair of quotes off, so gin's own form is `--gin.NAME="'text'"`. Where a
setting is text, `--gin.NAME=text` means the same. Files keep gin's syntax.
"""

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from gin import config_parser

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import (
    COMMAND_LINE,
    Macro,
    Reference,
    parse_statements,
    place,
    syntax_message,
)
from dro_jax.cli.gin_old_names import with_new_names
from dro_jax.cli.gin_signatures import signature
from dro_jax.errors import ConfigError
from dro_jax.shipped_names import PACKAGES

_REQUIRED = Macro("gin.REQUIRED")
# Of these None stands for what a command finds out.
_FOUND_OUT = ("VOCAB_SIZE", "vocab_size")
# What may stand without quotes: nothing that gin or a person could mean otherwise.
_PLAIN_TEXT = re.compile(r"[^\s'\"\[\](){}@%][^'\"\[\](){}\n]*")
_NAME = re.compile(r"[A-Za-z_][\w./]*")
_MISSPELT = {"none": "None", "null": "None", "true": "True", "false": "False"}
_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    dict: "a dictionary, {'name': value, …}",
    list: "a list",
    tuple: "a list",
    type(None): "None",
}


class Flag(NamedTuple):
    """A setting as it is typed: `--gin.NAME=VALUE`."""

    name: str
    value: str

    @classmethod
    def of(cls, binding: str) -> "Flag":
        """From `NAME = VALUE`."""
        name, _, value = binding.partition("=")
        return cls(name.strip(), value.strip())

    def __str__(self) -> str:
        return f"--gin.{self.name}={self.value}"

    def quoted(self) -> str:
        """The flag with gin's quotes about the value, as a shell takes it."""
        text = repr(self.value)
        if re.fullmatch(r"'[^\"$`\\!']*'", text):
            return f'--gin.{self.name}="{text}"'
        return shlex.quote(f"--gin.{self.name}={text}")


def typed_statements(
    bindings: Sequence[str], files: Configuration
) -> list[config_parser.BindingStatement]:
    """What is typed on the command line, as gin's parser gives it.

    A value that is not gin's, holds no quote or bracket and begins with neither `@` nor
    `%` is text where the setting is: where its annotation allows text or, if that says
    nothing, its value in the files is text, None or missing.

    Args:
      bindings: `NAME = VALUE`.
      files: what the files set.

    Raises:
      ConfigError: a value is none, naming the flag and, for text, its quoted form.
    """
    settings = _Settings(files)
    return [_statement(Flag.of(binding), settings) for binding in bindings]


def as_gin(statement: config_parser.BindingStatement) -> str:
    """`NAME = VALUE`, which gin can parse."""
    return statement.location.line_content


def check_values(statements: Sequence[Any], configuration: Configuration) -> None:
    """Refuses a number for text, text for a number, and the like.

    Args:
      statements: of the files and the command line.
      configuration: what they set.

    Raises:
      ConfigError: naming flag, or file and line.
    """
    settings = _Settings(configuration)
    for statement in statements:
        if isinstance(statement, config_parser.BindingStatement):
            name = _name_of(statement)
            where = place(statement.location)
            _check_kind(where, name, statement.value, settings.kinds(name))


class _Settings:
    """What a configuration says about the kind of each setting."""

    def __init__(self, configuration: Configuration):
        self._macros = configuration.macros
        self._bindings = configuration.bindings
        self._full = {short: full for full, short in configuration.names.items()}
        self._modules = configuration.modules
        # Unless a file calls a module of its own so.
        self._ours_in_full = not set(PACKAGES) & set(configuration.modules)

    def value(self, name: str) -> Any:
        """The value in force, macros filled in; `%gin.REQUIRED` where there is none."""
        full = self._full.get(name, name)
        value, seen = (
            self._macros.get(name, self._bindings.get(full, _REQUIRED)),
            {name},
        )
        while isinstance(value, Macro) and value.name not in seen:
            seen.add(value.name)
            value = self._macros.get(value.name, _REQUIRED)
        return value

    def kinds(self, name: str, seen: tuple[str, ...] = ()) -> frozenset[type] | None:
        """The types that a setting may have by its annotations; None: not known."""
        if "." in name:
            return self._annotated(name)
        users = [
            other
            for other, value in [*self._macros.items(), *self._bindings.items()]
            if value == Macro(name) and other not in seen
        ]
        each = [self.kinds(user, (*seen, name)) for user in users]
        if not each or None in each:
            return None
        return each[0].intersection(*each) or None

    def with_new_names(self, line: str) -> str:
        """A typed line with the names of today for modules of ours."""
        # What is typed may be a module of the current folder.
        folders = [os.getcwd()]
        return with_new_names(line, folders, selectors=self._ours_in_full)

    def takes_text(self, name: str) -> bool:
        """Whether text without quotes can be meant."""
        kinds = self.kinds(name)
        if kinds is not None:
            return str in kinds
        value = self.value(name)
        return value is None or isinstance(value, str) or value == _REQUIRED

    def _annotated(self, name: str) -> frozenset[type] | None:
        selector, _, argument = name.rpartition("/")[2].rpartition(".")
        first, dot, rest = selector.partition(".")
        found = signature(f"{self._modules.get(first, first)}{dot}{rest}")
        return found.kinds.get(argument) if found else None


def _check_kind(where: str, name: str, value: Any, kinds: frozenset[type] | None):
    if kinds is None or type(value) in kinds:
        return
    if value is None and name.rpartition(".")[2] in _FOUND_OUT:
        return
    if type(value) is int and float in kinds or isinstance(value, Macro | Reference):
        return
    given = "text" if isinstance(value, str) else repr(value)
    message = f"{where}: {name} is {_words(kinds)}, and this is {given}"
    if str in kinds and isinstance(value, int | float) and where.startswith("--gin."):
        typed = Flag.of(where.removeprefix("--gin."))
        message += f". As text: {typed.quoted()}"
    raise ConfigError(message)


def _statement(flag: Flag, settings: _Settings) -> config_parser.BindingStatement:
    if not _NAME.fullmatch(flag.name):
        raise ConfigError(
            f"{flag}: {flag.name!r} is no name of a setting: --gin.NAME=VALUE, or "
            "--gin.module.function.argument=VALUE"
        )
    if not flag.value:
        raise ConfigError(f"{flag} has no value. Empty text is {flag.quoted()}")
    try:
        return _parsed(flag.name, flag.value, settings)
    except ConfigError as error:
        if not _PLAIN_TEXT.fullmatch(flag.value):
            raise ConfigError(f"{flag}: {error}{_hint(flag)}") from error
    gins_word = _MISSPELT.get(flag.value.lower())
    if gins_word and not isinstance(settings.value(flag.name), str):
        raise ConfigError(
            f"{flag}: gin writes {gins_word}. If text is meant, quote it: "
            f"{flag.quoted()}"
        )
    if not settings.takes_text(flag.name):
        raise ConfigError(
            f"{flag}: {flag.value} is no value of gin's, and "
            f"{_meant(flag.name, settings)}. If text is meant, quote it: "
            f"{flag.quoted()}"
        )
    return _parsed(flag.name, repr(flag.value), settings)


def _parsed(
    name: str, value: str, settings: _Settings
) -> config_parser.BindingStatement:
    line = settings.with_new_names(f"{name} = {value}")
    try:
        statements = parse_statements(line, COMMAND_LINE)
    except ConfigError as error:
        raise ConfigError(syntax_message(error.__cause__)) from error
    if len(statements) != 1 or not isinstance(
        statements[0], config_parser.BindingStatement
    ):
        raise ConfigError("a flag sets one name")
    location = statements[0].location._replace(line_content=line)
    return statements[0]._replace(location=location)


def _meant(name: str, settings: _Settings) -> str:
    kinds = settings.kinds(name)
    if kinds:
        return f"{name} is {_words(kinds)}"
    value = settings.value(name)
    if isinstance(value, Reference):
        return f"{name} is @{value.selector}{'()' * value.evaluate} in the files"
    return f"{name} is {value!r} in the files"


def _words(kinds: frozenset[type]) -> str:
    return " or ".join(dict.fromkeys(_KINDS[kind] for kind in _KINDS if kind in kinds))


def _hint(flag: Flag) -> str:
    if flag.value[0] in "[{(@%":
        return ""
    return f". If text is meant, quote it: {flag.quoted()}"


def _name_of(statement: config_parser.BindingStatement) -> str:
    scope = f"{statement.scope}/" if statement.scope else ""
    argument = f".{statement.arg_name}" if statement.arg_name else ""
    return f"{scope}{statement.selector}{argument}"
