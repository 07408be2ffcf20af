"""What is done when somebody imports a package for the first time."""

import contextlib
import importlib
import importlib.resources
import importlib.util
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


def test_an_import_that_failed_is_tried_again(package, tmp_path):
    """`import seqio` fails where a package that it needs is not there yet."""
    file, calls = tmp_path / package / "__init__.py", []
    after_import(package, lambda: calls.append("after"))
    file.write_text("import no_such_package_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        importlib.import_module(package)
    assert calls == []
    file.write_text("VALUE = 3  # mended\n")
    importlib.invalidate_caches()
    importlib.import_module(package)
    assert calls == ["after"]


def test_calls_follow_in_their_order_each_once(package):
    calls = []

    def first():
        calls.append("first")

    @contextlib.contextmanager
    def around():
        calls.append("around")
        yield

    for _ in range(2):  # as two commands of a process
        around_import(package, around)
        after_import(package, first)
    after_import(package, lambda: calls.append("second"))
    importlib.import_module(package)
    assert calls == ["around", "first", "second"]


def test_a_package_may_be_looked_at_without_being_imported(package):
    after_import(package, lambda: None)
    loader = importlib.util.find_spec(package).loader
    assert loader.get_filename(package).endswith("__init__.py")
    assert loader.is_package(package)
    assert package not in sys.modules
