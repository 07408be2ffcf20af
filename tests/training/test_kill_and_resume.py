"""A few rounds of the kill test; `python tests/kill_and_resume.py --rounds 20` is whole."""

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "kill_and_resume.py"


@pytest.mark.slow
def test_a_killed_run_ends_as_the_whole_one():
    # One server of forks for both layouts, so that TensorFlow is imported once.
    command = [sys.executable, str(SCRIPT), "--processes", "1", "2"]
    command += ["--devices", "1", "2", "--rounds", "1", "--seed", "1"]
    command += ["--loops", "online", "log", "--first", "at a round", "during a save"]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=1200
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    for interruptions in (
        "1 device, online: 1 interruption, 12 steps, 0 differences",
        "2 processes of 2 devices: 1 interruption, 12 steps, 0 differences",
    ):
        assert interruptions in result.stdout
    assert "all runs are bitwise the same" in result.stdout
