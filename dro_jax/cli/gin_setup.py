"""gin, at the one place where runs are composed."""

import difflib
import importlib.util
import pathlib
import re
import tokenize

import gin

from dro_jax.errors import ConfigError


def parse(files: list[str], bindings: list[str], search_paths: str = "") -> None:
    """Replace gin's configuration by these files and bindings, in this order.

    Args:
      files: looked up in the current folder, in `search_paths` and among the files
        that dro_jax ships.
      bindings: `NAME = VALUE`, overriding the files.
      search_paths: folders, comma-separated.

    Raises:
      ConfigError: a file is missing, a name is unknown, a macro that nothing uses is
        set on the command line, or a required one is not set.
    """
    gin.clear_config()
    for folder in [p for p in search_paths.split(",") if p] + _shipped_folders():
        gin.add_config_file_search_path(folder)
    try:
        gin.parse_config_files_and_bindings(files, [], finalize_config=False)
        # With the files' imports, so that a flag may name whatever a file may.
        gin.parse_config([*_imports(), *bindings])
    except OSError as error:
        raise ConfigError(
            f"a gin file cannot be found: {_one_line(error)}. Files are looked up in the "
            "current folder, in --gin_search_paths and among those that dro-jax ships "
            "(gin_configs/…)"
        ) from error
    except (
        AttributeError,
        ImportError,
        SyntaxError,
        ValueError,
        tokenize.TokenError,
    ) as error:
        raise ConfigError(f"gin: {_one_line(error)}") from error
    text = gin.config_str()
    _refuse_unused(bindings, text)
    _refuse_missing(text)


def call(function):
    """Call a function with the arguments that gin has bound for it.

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
        return configured()
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


def _imports() -> list[str]:
    lines = gin.config_str().splitlines()
    return [line for line in lines if line.startswith(("from ", "import "))]


def _shipped_folders() -> list[str]:
    spec = importlib.util.find_spec("gin_configs")
    if spec is None:
        return []
    return [str(pathlib.Path(folder).parent) for folder in spec.submodule_search_locations]


def _refuse_unused(bindings: list[str], text: str) -> None:
    used = set(re.findall(r"%([A-Za-z_]\w*)", text))
    for binding in bindings:
        name = binding.split("=")[0].strip()
        if "." in name or "/" in name or name in used:
            continue
        near = difflib.get_close_matches(name, used, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ConfigError(
            f"--gin.{name} sets a name that no gin file uses{hint} The names in use: "
            + ", ".join(sorted(used - {"gin"}))
        )


def _refuse_missing(text: str) -> None:
    bound = dict(re.findall(r"^(\w+) = (.*)$", text, flags=re.MULTILINE))
    used = set(re.findall(r"%([A-Za-z_]\w*)(?!\.)\b", text))
    missing = sorted(
        {name for name, value in bound.items() if value == "%gin.REQUIRED"}
        | (used - set(bound) - {"gin"})
    )
    if missing:
        raise ConfigError(
            "required settings are missing: "
            + ", ".join(missing)
            + ". Set them in a gin file, or with "
            + " ".join(f"--gin.{name}=…" for name in missing)
        )


def _one_line(error: Exception) -> str:
    text = re.sub(r"<module '([^']+)' from '[^']*'>", r"\1", str(error))
    return " ".join(text.split())
