"""What is done when somebody imports a package for the first time."""

import contextlib
import importlib
import importlib.resources
import sys

import pytest

from dro_jax.import_hooks import after_import, around_import


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that has not been imported."""
    folder = tmp_path / "imported_late"
    folder.mkdir()
    (folder / "__init__.py").write_text("VALUE = 3\n")
    (folder / "words.txt").write_text("hello")
    monkeypatch.syspath_prepend(tmp_path)
    yield "imported_late"
    sys.modules.pop("imported_late", None)


def test_a_call_follows_the_first_import(package):
    calls = []
    after_import(package, lambda: calls.append(sys.modules[package].VALUE))
    assert calls == []
    module = importlib.import_module(package)
    assert calls == [3]
    # Nothing is left of it.
    assert (importlib.resources.files(module) / "words.txt").read_text() == "hello"
    assert type(module.__loader__).__module__.startswith(("importlib", "_frozen"))
    sys.modules.pop(package)
    importlib.import_module(package)
    assert calls == [3]
    after_import(package, lambda: calls.append("at once"))
    assert calls == [3, "at once"]


def test_the_import_is_within_its_contexts(package):
    seen = []

    @contextlib.contextmanager
    def around():
        seen.append(hasattr(sys.modules[package], "VALUE"))
        yield
        seen.append(hasattr(sys.modules[package], "VALUE"))

    around_import(package, around)
    importlib.import_module(package)
    assert seen == [False, True]


def test_what_is_not_there_is_not_found():
    after_import("no_such_package_at_all", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        importlib.import_module("no_such_package_at_all")
