"""gin, at the one place where runs are composed."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import gin

from dro_jax.cli import gin_allow
from dro_jax.cli.gin_files import (
    COMMAND_LINE,
    PARSING_ERRORS,
    GinFiles,
    parse_statements,
    shipped_folders,
)
from dro_jax.cli.gin_names import check_names
from dro_jax.cli.gin_signatures import check_signatures
from dro_jax.data.modules import look_in_current_folder, module_names
from dro_jax.errors import ConfigError
from dro_jax.messages import note

# gin writes this line where a constant is used, as `%gin.REQUIRED`.
_IMPORT_OF_CONSTANTS = "from gin import config"


def parse(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
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

    Raises:
      ConfigError: a file is missing or uses a module that it may not, a name is unknown,
        a macro that nothing uses is set on the command line, or a required one is not
        set.
    """
    gin.clear_config()
    try:
        _parse(files, bindings, search_paths, allow_imports)
    except ConfigError:
        gin.clear_config()
        raise


def call(function, **more):
    """Call a function with the arguments that gin has bound for it, and with others.

    Raises:
      ConfigError: a required argument is not bound.
    """
    try:
        configured = gin.get_configurable(function)
    except ValueError:
        raise ConfigError(
            f"the gin files bind nothing for {function.__name__}: add a run file, for "
            f"example --gin_file=gin_configs/runs/{function.__name__}.gin"
        ) from None
    try:
        return configured(**more)
    except (TypeError, RuntimeError) as error:
        # gin appends where the call came from; only its own complaints about missing
        # or unknown arguments are the user's to mend.
        if "missing" in str(error) or "Required bindings" in str(error):
            raise ConfigError(f"gin: {_one_line(error)}") from error
        raise


def macro(name: str):
    """The value of a macro such as `MODEL`, with what it refers to built.

    Raises:
      ConfigError: the macro is not bound.
    """
    try:
        value = gin.query_parameter(f"{name}/gin.macro.value")
    except ValueError:
        raise ConfigError(f"gin: {name} is not set in the gin files") from None
    if isinstance(value, gin.config.ConfigurableReference):
        return value.scoped_configurable_fn()
    return value


def check(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
    *,
    tell: Callable[[str], None] | None = note,
) -> tuple[GinFiles, list[Any]]:
    """What `parse` refuses without importing anything: files, imports, names.

    Args:
      files, bindings, search_paths, allow_imports: as for `parse`.
      tell: is given sentences about settings without effect.

    Returns:
      The files, and the bindings as statements.

    Raises:
      ConfigError: as `parse`.
    """
    folders = [path for path in search_paths.split(",") if path] + shipped_folders()
    read = GinFiles(files, folders)
    gin_allow.check_imports(read, gin_allow.AllowList(allow_imports))
    typed = parse_statements("\n".join(bindings), COMMAND_LINE)
    check_names(read.statements, typed, tell)
    check_signatures([*read.statements, *typed])
    look_in_current_folder(_typed_modules(typed), "MIXTURE_OR_TASK_MODULE")
    look_in_current_folder(allow_imports, "--allow_import")
    return read, typed


def _parse(files, bindings, search_paths: str, allow_imports: Sequence[str]) -> None:
    read, typed = check(files, bindings, search_paths, allow_imports)
    allowed = gin_allow.AllowList(allow_imports)
    try:
        with read.given_to_gin():
            gin.parse_config_files_and_bindings(files, [], finalize_config=False)
            gin_allow.check_configurables(read.statements, allowed)
            # With the files' imports, so that a flag may name whatever a file may.
            gin.parse_config([*_imports(), *bindings])
    except ConfigError:
        raise
    except PARSING_ERRORS as error:
        raise ConfigError(f"gin: {_one_line(error)}") from error
    gin_allow.check_configurables([*read.statements, *typed], allowed)
    gin_allow.check_modules(read, typed, allowed)


def _typed_modules(typed: Sequence[Any]) -> list[str]:
    """The modules that the command line names, as tasks' modules are."""
    return [
        name
        for statement in typed
        if getattr(statement, "selector", "") == gin_allow.MODULE_MACRO
        and isinstance(statement.value, str | tuple | list)
        for name in module_names(statement.value)
    ]


def _imports() -> list[str]:
    lines = gin.config_str().splitlines()
    return [
        line
        for line in lines
        if line.startswith(("from ", "import ")) and line != _IMPORT_OF_CONSTANTS
    ]


def _one_line(error: Exception) -> str:
    text = re.sub(r"<module '([^']+)' from '[^']*'>", r"\1", str(error))
    return " ".join(text.split())
