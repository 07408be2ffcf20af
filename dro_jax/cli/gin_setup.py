"""gin, at the one place where runs are composed."""

import contextlib
import copy
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gin

from dro_jax.cli import gin_allow
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_addresses import check_addresses
from dro_jax.cli.gin_files import PARSING_ERRORS, GinFiles, place
from dro_jax.cli.gin_names import check_names, missing_names
from dro_jax.cli.gin_selectors import check_selectors
from dro_jax.cli.gin_values import as_gin, check_values, typed_statements
from dro_jax.data.modules import look_in_current_folder, module_names
from dro_jax.errors import ConfigError, UserError
from dro_jax.messages import note

_REFUSE = object()
_CALLS = "\n  In call to configurable"
# gin writes this line where a constant is used, as `%gin.REQUIRED`.
_IMPORT_OF_CONSTANTS = "from gin import config"


def parse(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    placeholders: Mapping[str, str] | None = None,
) -> None:
    """Replace gin's configuration by these files and bindings, in this order.

    Nothing is imported before all files have been checked, and nothing that they name
    is called.

    Args:
      files: looked up in the current folder, in `search_paths` and among the files
        that dro_jax ships.
      bindings: `NAME = VALUE`, overriding the files.
      search_paths: folders, comma-separated.
      allow_imports: modules and packages that files may use beside those that every
        file may (`gin_allow.ALLOWED`).
      only: macros; the first file is another's, and is read for these alone.
      placeholders: values of names that need not be set, since they are not used.

    Raises:
      ConfigError: a file is missing or uses a module that it may not, a name is unknown,
        a macro that nothing uses is set on the command line, or a required one is not
        set.
    """
    gin.clear_config()
    try:
        _parse(files, bindings, search_paths, allow_imports, only, placeholders)
    except ConfigError:
        gin.clear_config()
        raise


def call(function, **more):
    """Call a function with the arguments that gin has bound for it, and with others.

    Raises:
      ConfigError: a required argument is not bound.
    """
    try:
        gin.get_configurable(function)
    except ValueError:
        raise ConfigError(
            f"the gin files bind nothing for {function.__name__}: add a run file, for "
            f"example --gin_file=gin_configs/runs/{function.__name__}.gin"
        ) from None
    # Built before the call, so that an error of the call's own is not gin's.
    with _translated_building(function.__name__):
        arguments = gin.get_bindings(function, resolve_references=True) | more
        missing = _missing(function, arguments)
    if missing:
        raise ConfigError(
            f"the gin files set no {', '.join(missing)} of {function.__name__}: "
            + " ".join(f"--gin.{function.__name__}.{name}=…" for name in missing)
        )
    return function(**arguments)


def macro(name: str, *, default: Any = _REFUSE):
    """The value of a macro such as `MODEL`, with what it refers to built.

    Args:
      name: the macro's.
      default: given for one that is not bound.

    Raises:
      ConfigError: the macro is not bound, and there is no default.
    """
    try:
        value = gin.query_parameter(f"{name}/gin.macro.value")
    except ValueError:
        if default is not _REFUSE:
            return default
        raise ConfigError(f"gin: {name} is not set in the gin files") from None
    with _translated_building(name):
        return copy.deepcopy(value)  # gin calls what it refers to


def check(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
    *,
    tell: Callable[[str], None] | None = note,
    only: Sequence[str] = (),
    placeholders: Mapping[str, str] | None = None,
) -> tuple[GinFiles, list[Any]]:
    """What `parse` refuses without importing anything: files, imports, names.

    Args:
      files, bindings, search_paths, allow_imports, only, placeholders: as for `parse`.
      tell: is given sentences about settings without effect, and about people's own
        files in the place of those that ship.

    Returns:
      The files, and the bindings as statements.

    Raises:
      ConfigError: as `parse`.
    """
    folders = [path for path in search_paths.split(",") if path]
    for folder in folders:
        if not os.path.isdir(folder):
            raise ConfigError(f"--gin_search_paths: {folder} is no folder")
    read = GinFiles(files, folders, only)
    gin_allow.check_imports(read, gin_allow.AllowList(allow_imports))
    typed = typed_statements(bindings, Configuration.of(read.statements))
    if placeholders:
        missing = missing_names(Configuration.of([*read.statements, *typed]))
        values = [f"{x} = {placeholders[x]}" for x in missing if x in placeholders]
        typed += typed_statements(values, Configuration.of(read.statements))
    check_selectors(read.statements, typed)
    check_names(read.statements, typed, tell, only)
    if tell is not None:
        for name, path in read.hiding:
            tell(f"{path} is your own; the file that ships is dro_jax/{name}")
    statements = [*read.statements, *typed]
    check_values(statements, Configuration.of(statements))
    look_in_current_folder(_typed_modules(typed), "MIXTURE_OR_TASK_MODULE")
    look_in_current_folder(allow_imports, "--allow_import")
    return read, typed


def _parse(
    files, bindings, search_paths, allow_imports, only, placeholders=None
) -> None:
    read, typed = check(
        files,
        bindings,
        search_paths,
        allow_imports,
        only=only,
        placeholders=placeholders,
    )
    allowed = gin_allow.AllowList(allow_imports)
    with read.given_to_gin():
        with _translated("gin"):
            gin.parse_config_files_and_bindings(files, [], finalize_config=False)
        gin_allow.check_configurables(read.statements, allowed)
        for statement in typed:
            with _translated(place(statement.location)):
                # With the files' imports: a flag may name whatever a file may.
                gin.parse_config([*_imports(), as_gin(statement)])
    gin_allow.check_configurables([*read.statements, *typed], allowed)
    gin_allow.check_modules(read, typed, allowed)
    check_addresses(read, typed, allowed)


def _typed_modules(typed: Sequence[Any]) -> list[str]:
    """The modules that the command line names, as tasks' modules are."""
    return [
        name
        for statement in typed
        if getattr(statement, "selector", "") == gin_allow.MODULE_MACRO
        and isinstance(statement.value, str | tuple | list)
        for name in module_names(statement.value)
    ]


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (*PARSING_ERRORS, NameError) as error:
        raise ConfigError(f"{where}: {_one_line(error)}") from error


@contextlib.contextmanager
def _translated_building(name: str) -> Iterator[None]:
    """What goes wrong where gin calls constructors is an error of settings."""
    try:
        yield
    except UserError as error:
        # gin appends the configurables that it was calling.
        message = str(error).split(_CALLS)[0]
        raise _plain_type(error)(message) from error
    except (
        ArithmeticError,
        LookupError,
        *PARSING_ERRORS,
        NameError,
        RuntimeError,
    ) as e:
        what, *calls = str(e).split(_CALLS)
        called = re.match(r"\s*'([^']+)'", calls[0]) if calls else None
        raise ConfigError(
            f"{called[1] if called else name} cannot be made of its settings: "
            f"{_one_line(what)}"
        ) from e


def _plain_type(error: Exception) -> type[Exception]:
    # gin raises a class of its own, made of the class that it caught.
    return next(t for t in type(error).__mro__ if "__getattr__" not in vars(t))


def _missing(function, arguments) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty]
    return [name for name in needed if name not in arguments]


def _imports() -> list[str]:
    lines = gin.config_str().splitlines()
    return [
        line
        for line in lines
        if line.startswith(("from ", "import ")) and line != _IMPORT_OF_CONSTANTS
    ]


def _one_line(error: Exception | str) -> str:
    text = re.sub(r"<module '([^']+)' from '[^']*'>", r"\1", str(error))
    return " ".join(text.split())
