"""What gin files may import, name and call.

A gin file is data from somewhere; importing a module runs its code, and calling a function
of a good module can delete a folder. Files may therefore import modules of listed packages
alone, and name functions and classes that are listed one by one. What is typed on the
command line as a task's module is the person's own wish.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import gin
from gin import config_parser

from dro_jax.cli import gin_files
from dro_jax.cli.gin_allowed_names import is_listed
from dro_jax.cli.gin_files import GinFiles, contained, place
from dro_jax.cli.gin_old_names import MODULE_ARGUMENTS, MODULE_MACRO
from dro_jax.errors import ConfigError
from dro_jax.shipped_names import new_name, ships

ALLOWED = (
    "dro_jax",
    "seqio",
    "t5.data",
    "t5.evaluation",
    "t5x",
    "optax",
    "flax",
)
# Whose modules a file may name as a task's, to be imported.
_TASK_PACKAGES = ("dro_jax.tasks",)
# Parts of these that import or delete whatever they are told to.
REFUSED = (
    "dro_jax.cli",
    "dro_jax.data.modules",
    "flax.io",
    "seqio.beam_utils",
    "seqio.scripts",
    "t5x.checkpoint_utils",
    "t5x.main",
    "t5x.utils.import_module",
)
_GIN_ITSELF = ("gin.macro", "gin.constant", "gin.singleton")
_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class AllowList:
    """The packages that gin files may use.

    Args:
      extra: names from `--allow_import`, modules or packages, which win over `REFUSED`.

    Raises:
      ConfigError: one of these is no module's name.
    """

    def __init__(self, extra: Sequence[str] = ()):
        for name in extra:
            if not _DOTTED_NAME.fullmatch(name):
                raise ConfigError(
                    f"--allow_import={name} is no module's name: write it as in Python, "
                    "for example --allow_import=my_package.my_tasks"
                )
        self._extra = tuple(extra)

    def permits(self, name: str) -> bool:
        """Whether a module, or a thing in a module, by its dotted name, may be used."""
        if _within(name, self._extra):
            return True
        return _within(name, ALLOWED) and not _within(name, REFUSED)

    def trusts(self, name: str) -> bool:
        """Whether the person has allowed this module beyond what every file may use."""
        return _within(name, self._extra)

    def permits_module(self, name: str) -> bool:
        """The same for what may be no module's name at all."""
        if not _DOTTED_NAME.fullmatch(name):
            return False
        return _within(name, self._extra) or _within(new_name(name), _TASK_PACKAGES)

    def permits_thing(self, thing: Any, name: str, *, called: bool) -> bool:
        """Whether a function or class may be named.

        Args:
          thing: the object itself.
          name: its module's name and its own.
          called: whether a value refers to it, beside setting what it takes.
        """
        return _within(name, self._extra) or is_listed(thing, called=called)

    def refusal(self, where: str, what: str, module: str) -> ConfigError:
        """The error for something that is not permitted."""
        ours = f" Ours is dro_jax.{module}." if ships(module) else ""
        return ConfigError(
            f"{where}: {what}, and gin files may use only what is listed "
            f"(docs/safety.md).{ours} If you trust the file, add --allow_import={module}"
        )


def check_imports(files: GinFiles, allowed: AllowList) -> None:
    """Refuses files that import another module; imports nothing itself.

    Raises:
      ConfigError: naming file, line and flag.
    """
    for statement in files.statements:
        if not isinstance(statement, config_parser.ImportStatement):
            continue
        if statement.is_from and statement.module.startswith("__gin__."):
            continue
        # gin writes this for its constants; nothing of it may be named.
        if statement.module == "gin.config":
            continue
        if not allowed.permits(statement.module):
            raise allowed.refusal(
                place(statement.location),
                f"this imports {statement.module}",
                statement.module,
            )


def check_configurables(statements: Sequence[Any], allowed: AllowList) -> None:
    """Refuses a parsed configuration that names functions of other modules.

    gin follows attributes, so `@dataset.importlib.import_module()` would reach beyond
    the module that a file imports.

    Args:
      statements: of the files and of the command line, for messages.
      allowed: the packages whose functions and classes may be named.

    Raises:
      ConfigError: naming file, line and flag.
    """
    for configurable, written, called in _named():
        if configurable.selector in _GIN_ITSELF:
            continue
        function = configurable.wrapped
        module = getattr(function, "__module__", None) or "builtins"
        path = getattr(function, "__qualname__", configurable.name)
        if not allowed.permits_thing(function, f"{module}.{path}", called=called):
            verb = "calls" if called else "names"
            raise allowed.refusal(
                _place_of_name(statements, written),
                f"this {verb} {module}.{path}",
                module,
            )


def check_modules(files: GinFiles, typed: Sequence[Any], allowed: AllowList) -> None:
    """Refuses modules that files name for import as values, as tasks' modules are.

    Args:
      files: the files.
      typed: the command line's statements; the modules that they name are allowed.
      allowed: the modules that files may name.

    Raises:
      ConfigError: naming file, line and flag.
    """
    asked_for = {name for s in typed for name in _texts(getattr(s, "value", None))}
    for setting, value in _module_settings():
        for name in _module_names(setting, value):
            if name not in asked_for and not allowed.permits_module(name):
                raise allowed.refusal(
                    _place_of_text(files.statements, name) or setting,
                    f"{setting} names the module {name}",
                    name,
                )


def _within(name: str, packages: Sequence[str]) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in packages)


def _named() -> Iterator[tuple[Any, str, bool]]:
    """Each configurable, how it is written, and whether a value refers to it."""
    for (_, selector), bindings in gin.config._CONFIG.items():
        yield gin.config._REGISTRY[selector], selector, False
        for value in contained(bindings):
            if isinstance(value, gin.config.ConfigurableReference):
                yield value.configurable, value.selector, True


def _module_settings() -> Iterator[tuple[str, Any]]:
    for (scope, selector), bindings in gin.config._CONFIG.items():
        for argument, value in bindings.items():
            if selector == "gin.macro":
                if scope == MODULE_MACRO:
                    yield scope, value
            elif argument in MODULE_ARGUMENTS:
                yield f"{selector}.{argument}", value


def _module_names(setting: str, value: Any) -> list[str]:
    if isinstance(value, gin.config.ConfigurableReference):
        if value.configurable.selector == "gin.macro" and value.evaluate:
            macro = gin.config._CONFIG.get(("/".join(value.scopes), "gin.macro"), {})
            return _module_names(setting, macro.get("value"))
        # A class makes an object, as T5X's models have one called `module`.
        if not value.evaluate or inspect.isclass(value.configurable.wrapped):
            return []
        raise ConfigError(
            f"gin: {setting} = {value} must name modules as text, not by a function"
        )
    if isinstance(value, tuple | list):
        return [name for item in value for name in _module_names(setting, item)]
    return list(_texts(value))


def _texts(value: Any) -> Iterator[str]:
    """The comma-separated names in a value's texts."""
    for text in contained(value):
        if isinstance(text, str):
            yield from filter(None, map(str.strip, text.split(",")))


def _place_of_text(statements: Sequence[Any], name: str) -> str | None:
    for statement in reversed(statements):
        if name in _texts(getattr(statement, "value", None)):
            return place(statement.location)
    return None


def _place_of_name(statements: Sequence[Any], written: str) -> str:
    """Where a name stands; by its last part where it is written in another way."""
    last = written.rpartition(".")[2]
    for wanted in (written, last):
        for statement in statements:
            for name in _names(statement):
                if name == wanted or wanted == last == name.rpartition(".")[2]:
                    return place(statement.location)
    return f"gin: @{written}"


def _names(statement: Any) -> Iterator[str]:
    if hasattr(statement, "selector"):
        yield statement.selector
    for value in contained(getattr(statement, "value", None)):
        if isinstance(value, gin_files.Reference):
            yield value.selector.rpartition("/")[2]
