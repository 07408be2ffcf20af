"""A few rounds of the kill test; `python tests/kill_and_resume.py --rounds 20` is whole."""

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "kill_and_resume.py"


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "rounds"), [(1, 4), (8, 2)])
def test_a_killed_run_ends_as_the_whole_one(devices, rounds):
    command = [sys.executable, str(SCRIPT), "--rounds", str(rounds)]
    command += ["--devices", str(devices)]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=1200
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    assert f"{rounds} interruptions" in result.stdout
    assert "all runs are bitwise the same" in result.stdout
