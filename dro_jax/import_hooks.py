"""What is to be done when somebody imports a package that this one does without."""

import contextlib
import importlib.abc
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

Around = Callable[[], contextlib.AbstractContextManager[Any]]

_AROUND: dict[str, list[Around]] = {}


def around_import(name: str, around: Around) -> None:
    """Runs a package's first import within a context; nothing if that has been.

    Args:
      name: the package's, without a dot.
      around: makes the context, which the package's code runs in.
    """
    if name in sys.modules:
        return
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _AROUND.setdefault(name, []).append(around)


def after_import(name: str, call: Callable[[], None]) -> None:
    """Calls a function when a package has been imported; at once if it has been."""
    if name in sys.modules:
        call()
        return

    @contextlib.contextmanager
    def then() -> Iterator[None]:
        yield
        call()

    around_import(name, then)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the others find, and lets it be loaded within its contexts."""

    def __init__(self) -> None:
        self._looking = threading.local()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        asked = vars(self._looking).setdefault("names", set())
        if name not in _AROUND or name in asked:
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

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        # Resources of the package are looked for by its own loader.
        module.__spec__.loader = module.__loader__ = self._loader
        with contextlib.ExitStack() as stack:
            for around in _AROUND.pop(self._name, ()):
                stack.enter_context(around())
            self._loader.exec_module(module)
