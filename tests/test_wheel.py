"""What a wheel holds, and that it works where a project has folders of the same names."""

import os
import subprocess
import sys
import zipfile

import foreign_project
import pytest

from dro_jax.shipped_names import FOLDER

wheel_builder = pytest.importorskip(
    "hatchling.builders.wheel", reason="hatchling, which builds the wheel, is missing"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Unpacked, as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    builder = wheel_builder.WheelBuilder(str(FOLDER))
    (path,) = builder.build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as file:
        file.extractall(folder / "installed")
    return folder / "installed"


def test_a_wheel_installs_one_name(wheel):
    names = {path.name for path in wheel.iterdir()}
    (info,) = (name for name in names if name.endswith(".dist-info"))
    assert names == {"dro_jax", info}


def test_a_wheel_holds_what_the_repository_does(wheel):
    for package, least in (("tasks", 10), ("gin_configs", 10), ("launch", 1)):
        expected, found = (
            {
                path.relative_to(folder).as_posix()
                for path in (folder / package).rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            }
            for folder in (FOLDER, wheel / "dro_jax")
        )
        assert found == expected
        assert len(found) >= least


def test_a_wheel_launches_from_an_empty_folder(wheel, tmp_path):
    words = ["launch", "local", "--num_processes=1", "--dry_run", "--", "train"]
    words += ["--gin_file=gin_configs/runs/quickstart_reference.gin"]
    done = subprocess.run(
        [sys.executable, "-m", "dro_jax.cli.main", *words, "--gin.MODEL_DIR=run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("--gin.MODEL_DIR=run\n")
    assert list(tmp_path.iterdir()) == []


def test_an_editable_install_copies_nothing(tmp_path):
    builder = wheel_builder.WheelBuilder(str(FOLDER))
    (path,) = builder.build(directory=str(tmp_path), versions=["editable"])
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
        assert [name.endswith(".pth") for name in names] == [True]
        assert file.read(names[0]).decode().split() == [str(FOLDER)]


def test_a_wheel_works_in_a_project_with_tasks_of_its_own(wheel, tmp_path):
    marker = foreign_project.make(tmp_path)
    code = """
import dro_jax.tasks.support_desk.language as language
from dro_jax.cli import gin_setup
files = ["dro_jax/gin_configs/runs/quickstart_reference.gin"]
gin_setup.check(files, ["MODEL_DIR=x"])
print(language.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(wheel)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(wheel / "dro_jax" / "tasks"))
    assert not marker.exists()
