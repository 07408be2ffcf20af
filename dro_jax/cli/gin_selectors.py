"""The functions and classes that gin statements name, looked up before gin does.

Of what is ours nothing is imported for it: an error comes at once, with flag or file and
line, and the near name.
"""

import difflib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gin import config_parser

from dro_jax.cli.gin_files import Reference, contained, place
from dro_jax.cli.gin_signatures import names_in, signature
from dro_jax.errors import ConfigError

_FEATURES = "__gin__"
_GIN_ITSELF = "gin"


def check_selectors(files: Sequence[Any], typed: Sequence[Any]) -> None:
    """Refuses names of modules that are not imported, and of nothing in ours.

    Args:
      files: the files' statements.
      typed: the command line's, which may use the modules of all files.

    Raises:
      ConfigError: there is one.
    """
    everything: dict[str, str] = {}
    by_file: dict[str, dict[str, str]] = {}
    registering = set()  # files without gin's line, which name what gin has registered
    for statement in files:
        if isinstance(statement, config_parser.ImportStatement):
            name, module = bound_module(statement)
            modules = by_file.setdefault(statement.location.filename, {})
            if module.partition(".")[0] != _FEATURES:
                modules[name] = everything[name] = module
                _check_module(statement)
            else:
                registering.add(statement.location.filename)
    used = {selector for s in files for selector, _ in selectors(s)}
    for statement in files:
        file = statement.location.filename
        if file in registering:
            _check(statement, by_file[file], used)
    if registering >= by_file.keys():
        for statement in typed:
            _check(statement, everything, used)


def bound_module(statement: config_parser.ImportStatement) -> tuple[str, str]:
    """The name that an import gives, and the module that it stands for."""
    name = statement.bound_name()
    whole = statement.is_from or statement.alias
    return name, statement.module if whole else name


def selectors(statement: Any) -> Iterator[tuple[str, str | None]]:
    """The names in a statement, without scopes, each with the argument set, or None."""
    if isinstance(statement, config_parser.BlockDeclaration):
        yield statement.selector, None
    if not isinstance(statement, config_parser.BindingStatement):
        return
    if statement.arg_name:
        yield statement.selector, statement.arg_name
    for value in contained(statement.value):
        if isinstance(value, Reference):
            yield value.selector.rpartition("/")[2], None


def did_you_mean(
    name: str, names: Iterable[str], prefix: str = "", suffix: str = ""
) -> str:
    """`; did you mean …?`, or nothing."""
    lower = {other.lower(): other for other in sorted(names)}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {prefix}{lower[near[0]]}{suffix}?" if near else ""


def _check_module(statement: config_parser.ImportStatement) -> None:
    package, _, last = statement.module.rpartition(".")
    if names_in(package) is None or names_in(statement.module) is not None:
        return
    raise ConfigError(
        f"{place(statement.location)}: there is no module {statement.module}"
        + did_you_mean(last, _modules_in(package), f"{package}.")
    )


def _modules_in(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return [module.name for module in pkgutil.iter_modules(folders or [])]


def _check(statement: Any, modules: Mapping[str, str], used: set[str]) -> None:
    where = place(statement.location)
    for selector, argument in selectors(statement):
        first, _, rest = selector.partition(".")
        if first == _GIN_ITSELF:
            continue
        if first not in modules:
            known = ", ".join(sorted(modules)) or "none"
            raise ConfigError(
                f"{where}: {first} is no module that the gin files import"
                f"{_near(selector, argument, modules, used)} Imported are {known}"
            )
        names = names_in(modules[first])
        if names is None or "." in rest:
            continue
        if not rest:
            raise ConfigError(f"{where}: {_is_module(first, modules[first], argument)}")
        if rest not in names:
            suffix = f".{argument}" if argument else ""
            near = _takers(modules[first], argument) or names
            raise ConfigError(
                f"{where}: {modules[first]} has no attribute {rest}"
                + did_you_mean(rest, near, f"{first}.", suffix)
            )
        _check_argument(where, selector, f"{modules[first]}.{rest}", argument)


def _is_module(first: str, module: str, argument: str | None) -> str:
    """What to say of a module in the place of a function."""
    names = names_in(module)
    if argument in names:
        return (
            f"{first}.{argument} has settings: --gin.{first}.{argument}.SETTING=VALUE"
        )
    takers = [f"{first}.{name}.{argument}" for name in _takers(module, argument)]
    hint = f"; did you mean {' or '.join(takers)}?" if takers else ""
    return f"{first} is a module, not a function or class of one{hint}"


def _takers(module: str, argument: str | None) -> list[str]:
    """What in a module takes an argument of this name."""
    return [
        name
        for name in sorted(names_in(module) or ())
        if (found := signature(f"{module}.{name}")) and argument in found.kinds
    ]


def _check_argument(where: str, selector: str, full: str, argument: str | None):
    found = signature(full)
    if argument is None or found is None or found.open or argument in found.kinds:
        return
    raise ConfigError(
        f"{where}: {selector} has no parameter named '{argument}'"
        f"{did_you_mean(argument, [*found.kinds], f'{selector}.') or '.'} It has "
        + ", ".join(found.kinds)
    )


def _near(selector: str, argument, modules: Mapping[str, str], used: set[str]) -> str:
    """Names whose last part is that of an unknown name, or like it."""
    last = selector.rpartition(".")[2]
    own = {
        f"{name}.{attribute}"
        for name, module in modules.items()
        for attribute in names_in(module) or ()
    }
    for candidates in (used - {selector}, own):
        lasts = {name.rpartition(".")[2] for name in candidates}
        if near := difflib.get_close_matches(last, lasts, n=1):
            names = sorted(n for n in candidates if n.rpartition(".")[2] == near[0])
            suffix = f".{argument}" if argument else ""
            return f"; did you mean {' or '.join(n + suffix for n in names[:3])}?"
    return "."
