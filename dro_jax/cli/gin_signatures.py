"""What gin files name and set, held against the source of our own modules.

The source is read, not imported: a misspelt function or argument, or a value of another
type, is refused before TensorFlow starts. What cannot be known so is left to gin.
"""

import ast
import difflib
import functools
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gin import config_parser

from dro_jax.cli.configuration_diff import Configuration, full_name
from dro_jax.cli.gin_files import Macro, Reference, contained, place
from dro_jax.errors import ConfigError

_OURS = ("dro_jax", "tasks")
_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "None": type(None)}


class Signature(NamedTuple):
    """A function's or class's arguments by name, each with its annotation or None."""

    arguments: Mapping[str, ast.expr | None]


def check_signatures(statements: Sequence[Any]) -> None:
    """Refuses names of ours that do not exist, and values of another type.

    Args:
      statements: of all files and of the command line, in their order.

    Raises:
      ConfigError: naming file and line, and a near name.
    """
    configuration = Configuration.of(statements)
    modules: dict[str, str] = {}
    for statement in statements:
        if isinstance(statement, config_parser.ImportStatement):
            _check_module(statement)
            if statement.is_from or statement.alias:
                modules[statement.bound_name()] = statement.module
        elif isinstance(statement, config_parser.BindingStatement):
            _check_binding(statement, modules, configuration)


def _check_module(statement: config_parser.ImportStatement) -> None:
    if statement.module.partition(".")[0] in _OURS and not _is_module(statement.module):
        raise ConfigError(
            f"{place(statement.location)}: there is no module {statement.module}"
        )


def _check_binding(statement, modules, configuration: Configuration) -> None:
    where = place(statement.location)
    for part in contained(statement.value):
        if isinstance(part, Reference):
            _signature(full_name(part.selector.rpartition("/")[2], modules), where)
    if not statement.arg_name:
        return
    name = full_name(statement.selector, modules)
    signature = _signature(name, where)
    if signature is None:
        return
    if statement.arg_name not in signature.arguments:
        raise ConfigError(
            f"{where}: {name} has no argument {statement.arg_name}"
            + _near(statement.arg_name, signature.arguments)
        )
    _check_type(
        statement.value, signature.arguments[statement.arg_name], where, configuration
    )


def _check_type(value: Any, annotation, where: str, configuration) -> None:
    types = _types(annotation)
    if types is None:
        return
    found = configuration.filled_in(value)
    # None may stand for what a command finds out, as VOCAB_SIZE.
    if found is None or isinstance(found, Macro | Reference) or _is_of(found, types):
        return
    setting = f"{value.name} = {found!r}" if isinstance(value, Macro) else where
    wanted = " or ".join(_WORDS[kind] for kind in types)
    raise ConfigError(f"{setting}: {found!r} is not {wanted}. It is used at {where}")


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "True or False",
    type(None): "None",
}


def _is_of(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # an int to Python, and hardly ever meant as one
        return bool in types
    return isinstance(value, types) or (float in types and isinstance(value, int))


def _types(annotation: ast.expr | None) -> tuple[type, ...] | None:
    """The types of an annotation of plain ones; None where it is another."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        left, right = _types(annotation.left), _types(annotation.right)
        return None if left is None or right is None else left + right
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return (type(None),)
    if isinstance(annotation, ast.Name) and annotation.id in _TYPES:
        return (_TYPES[annotation.id],)
    return None


def _signature(name: str, where: str) -> Signature | None:
    """The signature of `module.name`; None where the source does not say it."""
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] not in _OURS or not _is_module(module):
        return None
    names = _names(module)
    if names is None:
        return None
    if attribute not in names:
        raise ConfigError(
            f"{where}: {module} has no {attribute}" + _near(attribute, names)
        )
    return names[attribute]


def _near(name: str, names) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return ". It has " + ", ".join(sorted(n for n in names if not n.startswith("_")))


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@functools.cache
def _names(module: str) -> dict[str, Signature | None] | None:
    """The names at the top of a module, with signatures where they can be read."""
    origin = importlib.util.find_spec(module).origin
    if origin is None:
        return None
    found: dict[str, Signature | None] = {}
    for node in ast.parse(pathlib.Path(origin).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name == "__getattr__":
                return None  # its names are known to the module alone
            found[node.name] = _signature_of(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found[(alias.asname or alias.name).partition(".")[0]] = None
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        found[part.id] = None
        elif isinstance(node, ast.If | ast.Try | ast.With):
            return None
    return found


def _signature_of(node: ast.FunctionDef | ast.ClassDef) -> Signature | None:
    if isinstance(node, ast.FunctionDef):
        return _of_function(node.args)
    if node.bases:
        return None
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            signature = _of_function(item.args)
            return signature and Signature(
                {n: a for n, a in signature.arguments.items() if n != "self"}
            )
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    return Signature({field.target.id: field.annotation for field in fields})


def _of_function(arguments: ast.arguments) -> Signature | None:
    if arguments.kwarg is not None:
        return None
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return Signature({argument.arg: argument.annotation for argument in every})
