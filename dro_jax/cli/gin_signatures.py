"""What functions and classes of ours take, read from their source; nothing is imported.

A misspelt setting is so refused at once, and not after the seconds that imports take.
"""

import ast
import functools
import pathlib
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from typing import Any

OURS = ("dro_jax",)
_TYPES = {"str": str, "int": int, "float": float, "bool": bool}
_TEXT = ("PathLike", "Path")
_CONTAINERS = {
    "Mapping": (dict,),
    "dict": (dict,),
    "Sequence": (list, tuple),
    "tuple": (list, tuple),
    "list": (list, tuple),
}


class Signature:
    """The arguments of a function, or of a class's constructor.

    Attributes:
      arguments: name to annotation and default, as syntax.
      kinds: argument to the types that its annotation names (text, numbers, True and
        False, None), or None where it may be something else too.
      open: whether it takes any other argument as well.
    """

    def __init__(self, arguments: Mapping[str, tuple[Any, Any]], open: bool):
        self.arguments = arguments
        self.kinds = {
            name: _kinds(annotation, default)
            for name, (annotation, default) in arguments.items()
        }
        self.open = open


@functools.cache
def names_in(module: str) -> frozenset[str] | None:
    """What one of our modules defines or imports or, of a package, its files define.

    Returns:
      None where the module is not ours, or there is none.
    """
    trees = _trees(module)
    if trees is None:
        return None
    return frozenset(
        name for tree in trees for name in [*_definitions(tree), *_others(tree)]
    )


@functools.cache
def signature(name: str) -> Signature | None:
    """What something of ours takes.

    Args:
      name: in full, as `dro_jax.training.train.train`.

    Returns:
      None where it is not ours, or is imported from elsewhere.
    """
    module, _, last = name.rpartition(".")
    for tree in _trees(module) or ():
        found = _definitions(tree).get(last)
        if isinstance(found, ast.ClassDef):
            return _of_class(found, tree, module)
        if found is not None:
            return _of_function(found.args)
    return None


def _of_class(node: ast.ClassDef, tree: ast.Module, module: str) -> Signature | None:
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _of_function(part.args, bound=True)
    fields, is_open = {}, False
    for base in node.bases:
        inherited = signature(_full_name(ast.unparse(base), tree, module))
        if inherited is None:
            is_open = True  # what it takes is not known
        else:
            fields |= inherited.arguments
            is_open |= inherited.open
    fields |= {
        part.target.id: (part.annotation, part.value)
        for part in node.body
        if isinstance(part, ast.AnnAssign)
        and isinstance(part.target, ast.Name)
        and "ClassVar" not in ast.unparse(part.annotation)
    }
    return Signature(fields, open=is_open)


def _full_name(name: str, tree: ast.Module, module: str) -> str:
    """The full name of what a module calls so."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return f"{node.module}.{alias.name}"
    return f"{module}.{name}"


def _of_function(arguments: ast.arguments, *, bound: bool = False) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults))
    found = {
        argument.arg: (argument.annotation, default)
        for argument, default in [
            *zip(positional, [*defaults, *arguments.defaults], strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
    }
    if bound:
        del found[positional[0].arg]
    return Signature(found, open=arguments.kwarg is not None)


def _kinds(annotation: Any, default: Any) -> frozenset[type] | None:
    found = set(_named(annotation))
    if isinstance(default, ast.Constant) and default.value is None:
        found.add(type(None))
    return None if Any in found else frozenset(found)


def _named(annotation: Any) -> Iterator[Any]:
    match annotation:
        case ast.BinOp(op=ast.BitOr()):
            yield from _named(annotation.left)
            yield from _named(annotation.right)
        case ast.Constant(value=None):
            yield type(None)
        case ast.Subscript(value=ast.Name(id="Literal")):
            words = annotation.slice
            words = words.elts if isinstance(words, ast.Tuple) else [words]
            yield from (type(word.value) for word in words)
        case ast.Subscript(value=ast.Name(id=name)) if name in _CONTAINERS:
            yield from _CONTAINERS[name]
        case ast.Name(id=name) if name in _TYPES:
            yield _TYPES[name]
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in _TEXT:
            yield str
        case _:
            yield Any


@functools.cache
def _trees(module: str) -> tuple[ast.Module, ...] | None:
    """The syntax of a module or, of a package, of the files in it too."""
    if module.partition(".")[0] not in OURS:
        return None
    spec = _spec(module)
    if spec is None or spec.origin is None:
        return None
    path = pathlib.Path(spec.origin)
    # The objectives' package offers what its private files define.
    private = path.parent.glob("_[a-z]*.py") if path.name == "__init__.py" else ()
    return tuple(ast.parse(p.read_text("utf-8")) for p in (path, *sorted(private)))


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is; unlike importlib's own, imports no package that it is in."""
    names, path, spec = module.split("."), None, None
    for end in range(1, len(names) + 1):
        name = ".".join(names[:end])
        found = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next(filter(None, found), None)
        path = spec and spec.submodule_search_locations
        if path is None:
            return spec if end == len(names) else None
    return spec


@functools.cache
def _definitions(tree: ast.Module) -> dict[str, Any]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds)}


def _others(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((a.asname or a.name).partition(".")[0] for a in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (t.id for t in targets if isinstance(t, ast.Name))
