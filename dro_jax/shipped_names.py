"""The tasks and gin files that ship with dro_jax: where they lie, and their names.

In the repository their folders, `tasks` and `gin_configs`, lie beside this package; in a
wheel they lie in it. From either they are imported as `dro_jax.tasks` and
`dro_jax.gin_configs`, names that nobody else has.

Once they were imported as `tasks` and `gin_configs`, as folders of many projects are.
These names still stand for ours, wherever the path has no module of that very name, and
for the same module objects: a task can be registered only once.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder

PACKAGES = ("tasks", "gin_configs")
_PARENT = "dro_jax"
_CHECKOUT = (_PARENT, *PACKAGES)  # a folder that holds all of these is one of ours
_PACKAGE_FOLDER = pathlib.Path(__file__).resolve().parent
_IS_INSTALLED = (_PACKAGE_FOLDER / "gin_configs").is_dir()
# The folder that holds `tasks` and `gin_configs`.
FOLDER = _PACKAGE_FOLDER if _IS_INSTALLED else _PACKAGE_FOLDER.parent


def install() -> None:
    """Lets Python find the packages by their new and, of ours alone, their old names."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # In front, since Python's own finder would load `tasks.hha` from a checkout as
        # a second module beside `dro_jax.tasks.hha`.
        sys.meta_path.insert(0, _Finder())


def new_name(name: str, folders: Sequence[str] = ()) -> str:
    """The name of today for a module of ours that is called by its old name.

    Args:
      name: a module's name, as `tasks.hha`.
      folders: where modules are found beside those of `sys.path`.

    Returns:
      As `dro_jax.tasks.hha`; the name itself where it is none of ours, or where somebody
      else's module has it. Nothing is imported to know this.
    """
    if _file_of(name) is None or _is_found_elsewhere(name, [*sys.path, *folders]):
        return name
    return f"{_PARENT}.{name}"


def ships(name: str) -> bool:
    """Whether a module of ours once had the name, whoever has it here."""
    return _file_of(name) is not None


def is_ours(folder: str | pathlib.Path) -> bool:
    """Whether a folder holds our packages, here or in another checkout, or is in one."""
    path = pathlib.Path(folder).resolve()
    for root in (path, *path.parents):
        if root == FOLDER or all((root / name).is_dir() for name in _CHECKOUT):
            return path == root or path.relative_to(root).parts[0] in PACKAGES
    return False


class _Finder(importlib.abc.MetaPathFinder):
    """Finds `dro_jax.tasks` beside `dro_jax`, and `tasks` where nobody else has it."""

    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        if top == _PARENT:
            return None if _IS_INSTALLED or rest not in PACKAGES else _package(rest)
        file = _file_of(name) if top in PACKAGES else None
        if file is None:
            return None
        if theirs := _others_spec(name, sys.path if path is None else path):
            return theirs
        return importlib.util.spec_from_file_location(
            name,
            file,
            loader=_Alias(f"{_PARENT}.{name}"),
            submodule_search_locations=_locations(file),
        )


class _Alias(importlib.abc.Loader):
    """Loads a module under its name of today, and gives the same object for the old."""

    def __init__(self, name: str):
        self._name = name

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        # The import system takes what it finds here afterwards.
        sys.modules[module.__name__] = importlib.import_module(self._name)

    def get_code(self, name):
        """For `python -m`."""
        return importlib.util.find_spec(self._name).loader.get_code(self._name)


def _package(name: str) -> ModuleSpec | None:
    file = FOLDER / name / "__init__.py"
    return importlib.util.spec_from_file_location(
        f"{_PARENT}.{name}", file, submodule_search_locations=_locations(file)
    )


def _locations(file: pathlib.Path) -> list[str] | None:
    return [str(file.parent)] if file.name == "__init__.py" else None


def _file_of(name: str) -> pathlib.Path | None:
    """The file of a module of ours, by its old name."""
    parts = name.split(".")
    if parts[0] not in PACKAGES or not all(map(str.isidentifier, parts)):
        return None
    path = FOLDER.joinpath(*parts)
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _is_found_elsewhere(name: str, folders: Sequence[str]) -> bool:
    """Whether another than ours has the name; its packages are not imported for it."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        spec = _others_spec(".".join(parts[:count]), folders)
        if spec is None:
            return False
        folders = spec.submodule_search_locations or ()
    return True


def _others_spec(name: str, folders: Sequence[str]) -> ModuleSpec | None:
    """What the other finders find in some folders, but for what is ours."""
    others = [folder for folder in folders if not is_ours(folder)]
    for finder in sys.meta_path:
        if isinstance(finder, _Finder) or not hasattr(finder, "find_spec"):
            continue
        # Most finders look only for names without a dot where they are given no folders.
        given = others if finder is PathFinder or "." in name else None
        spec = finder.find_spec(name, given)
        if spec is not None and not _is_ours_spec(spec):
            return spec
    return None


def _is_ours_spec(spec: ModuleSpec) -> bool:
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    return any(is_ours(pathlib.Path(place).parent) for place in places if place)


