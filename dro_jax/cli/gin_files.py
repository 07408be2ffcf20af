"""gin files read once: looked at statement by statement, then parsed as they were read.

gin's own readers look for a file among installed packages too, which imports them, and
would read it a second time. Here every file, included ones too, is found and read
before gin starts, and gin is given these texts.
"""

import contextlib
import io
import os
import pathlib
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gin
from gin import config_parser

from dro_jax.cli.gin_old_names import with_new_names
from dro_jax.errors import ConfigError
from dro_jax.shipped_names import FOLDER

PARSING_ERRORS = (
    AttributeError,
    ImportError,
    OSError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
COMMAND_LINE = "the command line"
_SHIPPED = "gin_configs/"
# What begins so is a file that ships, whatever lies in the current folder.
_SURELY_SHIPPED = f"dro_jax/{_SHIPPED}"


class Reference(NamedTuple):
    """`@scope/selector` or `@scope/selector()` as it is written."""

    selector: str
    evaluate: bool


class Macro(NamedTuple):
    """`%name` as it is written."""

    name: str


class _AsWritten(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(scoped_configurable_name, evaluate)

    def macro(self, macro_name):
        return Macro(macro_name)


def parse_statements(text: str, source: str) -> list[Any]:
    """The statements of a gin text, as gin's parser names them; nothing is imported.

    Args:
      text: the text.
      source: where it is from, for messages.

    Raises:
      ConfigError: it is not gin.
    """
    try:
        return list(config_parser.ConfigParser(_Text(text, source), _AsWritten()))
    except PARSING_ERRORS as error:
        raise ConfigError(f"gin: {source}: {_syntax_error(error)}") from error


class GinFiles:
    """Files and all that they include, found and read.

    Args:
      names: the files, as given.
      folders: where they are looked for after the current folder, in this order, and
        before those that ship.
      only: macros; of the first file nothing is kept but what gives these their values.

    Attributes:
      statements: those of all files, in the order in which gin reads them.
      hiding: names of files that ship, each with the file of that name that is read instead.
      own: text of the files that do not ship, by name.

    Raises:
      ConfigError: a file is missing, is no gin file or includes itself.
    """

    def __init__(
        self, names: Sequence[str], folders: Sequence[str], only: Sequence[str] = ()
    ):
        self._folders = ["", *folders, str(FOLDER)]
        self._only = {names[0]: only} if only else {}
        self._texts: dict[str, _Text] = {}
        self.statements: list[Any] = []
        self.hiding: list[tuple[str, str]] = []
        self.own: dict[str, str] = {}
        for name in names:
            self._read(name)

    def _read(
        self, name: str, includers: tuple[str, ...] = (), included_at: str = ""
    ) -> None:
        if name in includers:
            chain = " → ".join([*includers, name])
            raise ConfigError(f"gin: a file includes itself: {chain}")
        if name not in self._texts:
            self._texts[name] = self._text(name, included_at)
        text = self._texts[name]
        # Again where a file comes twice, as gin does: what is said last holds.
        for statement in parse_statements(text.getvalue(), text.name):
            self.statements.append(statement)
            if isinstance(statement, config_parser.IncludeStatement):
                at = f", included by {place(statement.location)},"
                self._read(statement.filename, (*includers, name), at)

    def _text(self, name: str, included_at: str) -> "_Text":
        path = self._find(name, included_at)
        try:
            written = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"gin: {path} cannot be read: {error}") from error
        if not path.resolve().is_relative_to(FOLDER / _SHIPPED):
            self.own[name] = written
        text = with_new_names(written)
        if name in self._only:
            text = reduced(text, str(path), self._only[name])
        return _Text(text, str(path))

    def _find(self, name: str, included_at: str) -> pathlib.Path:
        folders = [""] if os.path.isabs(name) else self._folders
        if name.startswith(_SURELY_SHIPPED):
            folders, name = [str(FOLDER)], name.removeprefix("dro_jax/")
        for folder in folders:
            path = pathlib.Path(folder, name)
            if path.is_file():
                if name.startswith(_SHIPPED) and _is_another(path, FOLDER / name):
                    self.hiding.append((name, str(path)))
                return path
        raise ConfigError(
            f"a gin file cannot be found: {name}{included_at} is in none of "
            f"{[folder or '.' for folder in folders]}. Files are looked up in the "
            "current folder, in --gin_search_paths and among those that dro-jax ships "
            f"({_SHIPPED}…; {_SURELY_SHIPPED}… are those that ship alone)"
        )

    @contextlib.contextmanager
    def given_to_gin(self) -> Iterator[None]:
        """gin parses these texts while this lasts, and can open no other file."""
        config = gin.config
        kept = config._FILE_READERS[:], config._LOCATION_PREFIXES[:]
        config._FILE_READERS[:] = [(self._open, self._texts.__contains__)]
        config._LOCATION_PREFIXES[:] = [""]
        try:
            yield
        finally:
            config._FILE_READERS[:], config._LOCATION_PREFIXES[:] = kept

    def _open(self, name: str) -> "_Text":
        known = self._texts[name]
        return _Text(known.getvalue(), known.name)


def reduced(text: str, source: str, macros: Sequence[str]) -> str:
    """The text with every statement blanked that some macros do not depend on.

    Lines keep their numbers. What is left is what a folder's file is read for: the rest
    is neither imported nor looked at.

    Args:
      text: a gin text.
      source: where it is from, for messages.
      macros: those that are wanted.

    Raises:
      ConfigError: it is not gin.
    """
    statements = parse_statements(text, source)
    wanted = _needed(statements, set(macros))
    lines = text.splitlines()
    starts = [s.location.line_num - 1 for s in statements]
    for statement, start, end in zip(
        statements, starts, [*starts[1:], len(lines)], strict=True
    ):
        if not _is_needed(statement, wanted):
            lines[start:end] = [""] * (end - start)
    return "\n".join(lines) + "\n"


def _needed(statements: Sequence[Any], wanted: set[str]) -> set[str]:
    """The names of macros and functions that the wanted ones lead to."""
    found, before = set(wanted), -1
    while len(found) != before:
        before = len(found)
        for statement in statements:
            value = getattr(statement, "value", None)
            if value is not None and _is_needed(statement, found):
                for part in contained(value):
                    if isinstance(part, Macro):
                        found.add(part.name)
                    elif isinstance(part, Reference):
                        found.add(part.selector.rpartition("/")[2])
    return found


def _is_needed(statement: Any, names: set[str]) -> bool:
    if isinstance(statement, config_parser.ImportStatement):
        if statement.module.startswith("__gin__"):
            return True
        bound = statement.bound_name()
        return any(name.partition(".")[0] == bound for name in names)
    if isinstance(statement, config_parser.IncludeStatement):
        return True
    return statement.selector in names


def contained(value: Any) -> Iterator[Any]:
    """The value and all that it holds, the keys of dictionaries too."""
    yield value
    if isinstance(value, Mapping):
        for pair in value.items():
            yield from contained(pair)
    elif isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        for item in value:
            yield from contained(item)


def place(location: config_parser.Location) -> str:
    """`FILE line 3: the line`, or the flag."""
    line = location.line_content.strip()
    if location.filename == COMMAND_LINE:
        name, _, value = line.partition("=")
        return f"--gin.{name.strip()}={value.strip()}"
    return f"{location.filename} line {location.line_num}: {line}"


def _is_another(path: pathlib.Path, shipped: pathlib.Path) -> bool:
    return shipped.is_file() and not path.samefile(shipped)


class _Text(io.StringIO):
    """A text with the name that messages give to it."""

    def __init__(self, text: str, name: str):
        super().__init__(text)
        self.name = name


def syntax_message(error: Exception) -> str:
    """What is wrong in a gin text, without the place."""
    message = " ".join(str((error.args or (type(error).__name__,))[0]).split())
    if token := re.search("Failed to parse token '(.*)'", message):
        return f"{token[1]} is no value of gin's; text is written in quotes."
    if message == "Unable to parse value.":
        return "this is no value of gin's; text is written in quotes."
    if message.startswith("EOF in multi-line"):
        return "a bracket or quote is not closed."
    return message


def _syntax_error(error: Exception) -> str:
    _, *where = error.args or (None,)
    if where and isinstance(where[0], tuple) and len(where[0]) >= 4:
        _, line, _, content, *_ = where[0]
        return f"line {line}: {syntax_message(error)} In: {content.strip()}"
    return syntax_message(error)
