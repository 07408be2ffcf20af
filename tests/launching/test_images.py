"""The image: what its Dockerfile names is there."""

import fnmatch
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from import_graph import ROOT

from dro_jax.launching.gke_storage import WORK_DIR

DOCKERFILE = ROOT / "launch" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")
# Instructions with their lines joined, without comments.
LINES = re.sub(
    r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)
).splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]


def instructions(name):
    return [line.split(None, 1)[1] for line in LINES if line.startswith(f"{name} ")]


def test_it_installs_extras_that_there_are():
    defaults = dict(arg.split("=", 1) for arg in instructions("ARG"))
    assert defaults["ACCELERATOR"] in EXTRAS
    told = re.findall(r"--build-arg ACCELERATOR=(\w+)", TEXT)
    assert told and set(told) < EXTRAS.keys()
    install = next(run for run in instructions("RUN") if "pip install -e" in run)
    assert install == 'pip install -e ".[${ACCELERATOR}]"'


def test_its_python_is_one_of_ours():
    (image,) = instructions("FROM")
    assert image == "python:${PYTHON}-slim"
    defaults = dict(arg.split("=", 1) for arg in instructions("ARG"))
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert [int(n) for n in defaults["PYTHON"].split(".")] >= [
        int(n) for n in least.split(".")
    ]


def test_commands_run_where_the_checkout_lies():
    assert instructions("WORKDIR") == [WORK_DIR]
    assert instructions("COPY") == [". ."]


def test_what_it_needs_is_not_ignored():
    ignored = [
        line.removeprefix("**/")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    build = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*build["only-include"], PROJECT["project"]["readme"], "pyproject.toml"]
    needed += PROJECT["project"]["license-files"]
    for name in needed:
        assert (ROOT / name).exists()
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in ignored), name
    assert {".git", ".venv", "tests"} <= set(ignored)


def test_t5x_is_installed_as_its_page_says():
    page = (ROOT / "docs" / "t5x.md").read_text(encoding="utf-8")
    (ours,) = [run for run in instructions("RUN") if "git clone" in run]
    for clone in re.findall(r"git clone (\S+)", page):
        assert f"{clone} " in ours
    (packages,) = re.findall(r"pip install dro-jax (.*)", page)
    assert f"pip install {packages};" in ours
    (commit,) = re.findall(r"git -C t5x checkout (\w+)", page)
    assert f"T5X={commit} " in TEXT


def test_hadolint_finds_nothing():
    beside = pathlib.Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("needs hadolint, of the extra launch-test")
    found = subprocess.run(
        [program, str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert found.stdout + found.stderr == ""
