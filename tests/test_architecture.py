"""What docs/architecture.md says of imports and files, read from the files."""

import subprocess
import sys

import pytest
from architecture_page import rows
from import_graph import ROOT, Import, cycles, imports_of, module_files, reached

PACKAGE = "dro_jax"
TASKS = "tasks"
# A folder imports only from those on lines above its own; "" is the package's own files.
LEVELS = (("",), *rows("levels"))
(LIGHT,) = rows("light")
HEAVY = {"tensorflow", "tensorflow_datasets", "seqio", "gin"}
MOST_LINES = 300
LONGER = {"dro_jax.data.dataset"}  # one class, half of it its docstrings


def test_no_modules_import_one_another():
    # Imports for type checkers and those inside functions too: they can run in a circle,
    # but whoever reads the files goes round in it.
    assert cycles(imports_of(PACKAGE, TASKS)) == []


def test_folders_import_one_way():
    level = {folder: n for n, folders in enumerate(LEVELS) for folder in folders}
    wrong = [
        str(found)
        for found in imports_of(PACKAGE)
        if _top(found.target) == PACKAGE
        and _folder(found.importer) != _folder(found.target)
        and level[_folder(found.importer)] <= level[_folder(found.target)]
    ]
    assert wrong == []


def test_tasks_import_the_library_and_never_the_reverse():
    importers = {
        _folder(found.importer)
        for found in imports_of(PACKAGE, TASKS)
        if _folder(found.target) == TASKS
    }
    assert importers == {TASKS}


def test_gin_is_read_by_commands_only():
    readers = {i.importer for i in imports_of(PACKAGE) if _top(i.target) == "gin"}
    assert {_folder(module) for module in readers} == {"cli"}


@pytest.mark.parametrize("folder", LIGHT)
def test_what_computes_needs_neither_tensorflow_nor_seqio(folder):
    early = (i for i in imports_of(PACKAGE) if not i.late and not i.for_types)
    heavy = {
        module: found
        for module, targets in reached(early).items()
        if _folder(module) == folder
        and (found := {t for t in targets if _top(t) in HEAVY})
    }
    assert heavy == {}


def test_imports_stay_light_in_a_new_process():
    code = f"""
import sys
from dro_jax import data, objectives
from dro_jax.data import rewards, sources
from dro_jax.models import model
from dro_jax.training import mesh_steps, sharding, step, train
import dro_jax.tasks
print(*({HEAVY | {"clu", "matplotlib"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_files_are_short():
    lengths = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in module_files(PACKAGE, TASKS).items()
    }
    assert {
        m: n for m, n in lengths.items() if n > MOST_LINES and m not in LONGER
    } == {}


def test_imports_and_circles_are_seen(tmp_path):
    for name, text in {
        "__init__": "",
        "a": "from made import b\nimport numpy.random",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from made.c import D",
        "c": "def f():\n  from made.a import g",
        "d": "from made.a import f",
    }.items():
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "made" / f"{name}.py").write_text(text)
    found = imports_of("made", root=tmp_path)
    assert set(found) == {
        Import("made.a", "made.b", 1, False, False),
        Import("made.a", "numpy.random", 2, False, False),
        Import("made.b", "typing.TYPE_CHECKING", 1, False, False),
        Import("made.b", "made.c", 3, False, True),
        Import("made.c", "made.a", 2, True, False),
        Import("made.d", "made.a", 1, False, False),
    }
    assert cycles(found) == [["made.a", "made.b", "made.c"]]
    assert cycles(i for i in found if not i.for_types) == []
    assert reached(found)["made.d"] >= {"made.c", "numpy.random"}


def _top(module: str) -> str:
    return module.partition(".")[0]


def _folder(module: str) -> str:
    """The folder of a module of the package; "" for the package's own files."""
    first = "".join(module.split(".")[1:2])
    is_folder = first == TASKS or (first and (ROOT / PACKAGE / first).is_dir())
    return first if is_folder else ""
