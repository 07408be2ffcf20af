"""Tests of several real processes that are one run: what `launch local` starts, too."""

import pathlib
import sys

import pytest
from several_processes import Processes

# The tables beside this file are scripts, whose parts are tests too.
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def start(tmp_path):
    """Starts processes as `Processes` does, with their logs in the test's folder."""
    started = []

    def of(function, *arguments, count=2, devices=1, **settings):
        settings.setdefault("logs", tmp_path / "logs")
        made = Processes(function, *arguments, count=count, devices=devices, **settings)
        started.append(made)
        return made

    yield of
    for processes in started:
        processes.kill()
