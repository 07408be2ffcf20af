"""What the files of a package import, read from their syntax alone."""

import ast
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Import:
    """One import of one file.

    Attributes:
      importer: the module that imports, by its dotted name.
      target: the module that is imported: a file that was read, where it is one of
        these, and otherwise the name as written.
      line: of the importer's file.
      late: inside a function, so that it happens when that is called.
      for_types: under ``if TYPE_CHECKING``.
    """

    importer: str
    target: str
    line: int
    late: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}, imports {self.target}"


@functools.cache
def module_files(*packages: str, root: Path = ROOT) -> Mapping[str, Path]:
    """The files of packages at the repository's top, by dotted module name.

    `tasks` is imported as `dro_jax.tasks`.
    """
    files = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            parts = ("dro_jax", *parts) if package == "tasks" else parts
            files[".".join(parts).removesuffix(".__init__")] = path
    return files


@functools.cache
def imports_of(*packages: str, root: Path = ROOT) -> tuple[Import, ...]:
    """Every import of every file of the packages."""
    files = module_files(*packages, root=root)
    return tuple(
        Import(module, _file_of(name, files), line, late, for_types)
        for module, path in files.items()
        for name, line, late, for_types in _names(_tree(path), False, False)
    )


def reached(imports: Iterable[Import]) -> dict[str, set[str]]:
    """For each module that imports, all that it imports, through others too."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        graph.setdefault(found.importer, set()).add(found.target)
    return {module: _reached(module, graph) for module in graph}


def cycles(imports: Iterable[Import]) -> list[list[str]]:
    """Sets of modules that import one another: the graph's strong components."""
    reached_from = reached(imports)
    components = {
        frozenset(m for m in found if module in reached_from.get(m, ()))
        for module, found in reached_from.items()
        if module in found
    }
    return sorted(map(sorted, components))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _names(
    node: ast.AST, late: bool, for_types: bool
) -> Iterator[tuple[str, int, bool, bool]]:
    """Names that are imported below a node: the module's, with what is taken from it."""
    if isinstance(node, ast.Import):
        yield from ((a.name, node.lineno, late, for_types) for a in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"line {node.lineno}: a relative import is not read"
        for alias in node.names:
            yield f"{node.module}.{alias.name}", node.lineno, late, for_types
    late |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for_types |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for child in ast.iter_child_nodes(node):
        yield from _names(child, late, for_types)


def _file_of(name: str, files: Mapping[str, Path]) -> str:
    """The longest part of a dotted name that is a file."""
    part = name
    while part not in files and "." in part:
        part = part.rpartition(".")[0]
    return part if part in files else name


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += graph.get(module, ())
    return seen
