"""What is to be done when somebody imports a package that this one does without."""

import contextlib
import importlib.abc
import importlib.util
import sys
import threading
from collections.abc import Callable
from typing import Any

Around = Callable[[], contextlib.AbstractContextManager[Any]]
Call = Callable[[], None]

# By a package's name, in the order in which they were given, each once.
_AROUND: dict[str, dict[Around, None]] = {}
_AFTER: dict[str, dict[Call, None]] = {}


def around_import(name: str, around: Around) -> None:
    """Runs a package's first import within a context; nothing if that has been.

    Args:
      name: the package's, without a dot.
      around: makes the context, which the package's code runs in.
    """
    if name not in sys.modules:
        _look_out()
        _AROUND.setdefault(name, {})[around] = None


def after_import(name: str, call: Call) -> None:
    """Calls a function when a package or module has been imported; at once if it has."""
    if name in sys.modules:
        call()
        return
    _look_out()
    _AFTER.setdefault(name, {})[call] = None


def _look_out() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the others find, and lets it be loaded within its contexts."""

    def __init__(self) -> None:
        self._looking = threading.local()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        asked = vars(self._looking).setdefault("names", set())
        if name in asked or (name not in _AROUND and name not in _AFTER):
            return None
        asked.add(name)  # the others are asked for it, and so is this one
        try:
            spec = importlib.util.find_spec(name)
        finally:
            asked.discard(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, name)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, name: str):
        self._loader = loader
        self._name = name

    def __getattr__(self, name: str) -> Any:
        # Others look at a package without importing it: `pkgutil`, coverage, debuggers.
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        # Resources of the package are looked for by its own loader.
        module.__spec__.loader = module.__loader__ = self._loader
        with contextlib.ExitStack() as stack:
            for around in tuple(_AROUND.get(self._name, ())):
                stack.enter_context(around())
            self._loader.exec_module(module)
        for call in tuple(_AFTER.get(self._name, ())):
            call()
        # Not before: an import that fails may be tried again.
        _AROUND.pop(self._name, None)
        _AFTER.pop(self._name, None)
