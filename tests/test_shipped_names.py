"""`dro_jax.tasks` and `dro_jax.gin_configs`, beside what others call `tasks`."""

import os
import subprocess
import sys

import foreign_project
import pytest

from dro_jax import shipped_names
from dro_jax.shipped_names import FOLDER, new_name

OLD_AND_NEW = """
import sys
import tasks.support_desk.language as old
import dro_jax.tasks.support_desk.language as new
from tasks.support_desk import reward
import gin_configs.runs
assert old is new and old.__name__ == "dro_jax.tasks.support_desk.language"
assert old.__spec__.name == old.__name__
assert reward is sys.modules["dro_jax.tasks.support_desk.reward"]
assert gin_configs is sys.modules["dro_jax.gin_configs"]
"""
# With a project first or last on the path.
THEIRS = """
import dro_jax.tasks.support_desk.language as new
import tasks, tasks.mine, tasks.jsonl
import tasks.support_desk.language as old
import gin_configs
assert tasks.mine.IS_MINE and tasks.jsonl.jsonl_task() == "mine"
assert old is new
assert gin_configs.__path__ == [PROJECT + "/gin_configs"]
"""
# As gin does where it looks for files in packages, under T5X.
RESOURCES = """
from gin import resource_reader as r
for name in ("gin_configs/t5x/train.gin", "dro_jax/gin_configs/t5x/train.gin"):
    assert r.system_path_file_exists(name), name
    assert "MODEL_DIR" in r.system_path_reader(name).read()
"""


def run(code, *path, cwd):
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("first", ["", "import dro_jax\n"], ids=["alone", "after ours"])
def test_a_checkouts_modules_are_the_same_under_both_names(first, tmp_path):
    run(first + OLD_AND_NEW, FOLDER, cwd=tmp_path)


def test_a_projects_own_packages_stay_its_own_and_ours_is_found(tmp_path):
    foreign_project.make(tmp_path)
    for path in ((tmp_path, FOLDER), (FOLDER, tmp_path)):
        run(f"PROJECT = {str(tmp_path)!r}\n{THEIRS}", *path, cwd=FOLDER)


def test_gin_finds_what_ships_in_any_folder(tmp_path):
    run(f"import dro_jax\n{RESOURCES}", FOLDER, cwd=tmp_path)


def test_modules_run_by_both_names(tmp_path):
    for name in ("tasks", "dro_jax.tasks"):
        done = subprocess.run(
            [sys.executable, "-m", f"{name}.support_desk.generate", "--help"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--output_dir" in done.stdout


def test_old_names_of_ours_are_translated_and_others_kept():
    for name in ("tasks", "tasks.hha", "tasks.support_desk.task", "gin_configs.runs"):
        assert new_name(name) == f"dro_jax.{name}"
    for name in ("tasks.mine", "tasks.hha.x", "tasks..hha", "tasks/hha", "dro_jax", ""):
        assert new_name(name) == name
    assert new_name("dro_jax.tasks.hha") == "dro_jax.tasks.hha"


def test_a_module_of_somebodys_own_keeps_its_name(tmp_path):
    marker = foreign_project.make(tmp_path)
    assert new_name("tasks.jsonl", [str(tmp_path)]) == "tasks.jsonl"
    assert new_name("tasks.hha", [str(tmp_path)]) == "dro_jax.tasks.hha"
    (tmp_path / "tasks" / "__init__.py").unlink()  # a folder is a package too
    assert new_name("tasks.jsonl", [str(tmp_path)]) == "tasks.jsonl"
    assert not marker.exists()


def test_another_checkout_of_ours_is_no_project(tmp_path):
    for name in ("dro_jax", "gin_configs", "tasks"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks" / "__init__.py").touch()
    (tmp_path / "tasks" / "hha.py").touch()
    assert new_name("tasks.hha", [str(tmp_path)]) == "dro_jax.tasks.hha"
    assert shipped_names.is_ours(tmp_path / "tasks")
    assert not shipped_names.is_ours(tmp_path / "tests")
