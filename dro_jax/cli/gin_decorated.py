"""Whether gin may configure a function that no configuration refers to.

What a file of `dynamic_registration` names is configured where a reference makes it. What
its own module decorates, `@gin.configurable`, is so wherever Python calls it.
"""

import functools
import importlib.machinery
import pathlib
import sys

_OURS = "dro_jax"  # which decorates nothing
_DECORATOR = "configurable"


@functools.cache
def may_be_decorated(selector: str) -> bool:
    """Whether something may read what is bound for a name, though nothing refers to it.

    Nothing is imported to know this.

    Args:
      selector: in full, as far as the files' imports tell.
    """
    top, *inner = selector.split(".")
    if top == _OURS:
        return False
    found = importlib.machinery.PathFinder.find_spec(top, sys.path)
    if found is None or found.origin is None:
        return True  # gin knows it by another name
    path = pathlib.Path(found.origin)
    if not found.submodule_search_locations:
        return _decorates(path)
    # The folder or file that comes next to the name; a package names what its files do.
    folder = path.parent
    for part in inner:
        if (file := folder / f"{part}.py").is_file():
            return _decorates(file)
        if not (folder / part).is_dir():
            break
        folder /= part
    return any(map(_decorates, folder.rglob("*.py")))


def _decorates(path: pathlib.Path) -> bool:
    try:
        return _DECORATOR in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return True
