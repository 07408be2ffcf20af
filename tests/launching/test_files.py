import os
import sys

import pytest

from dro_jax.errors import ConfigError
from dro_jax.launching import files
from dro_jax.launching.interface import Prepared
from dro_jax.launching.run_commands import run_in_order

PREPARED = Prepared(
    files={"run.sh": "#!/bin/sh\ntrue\n", "logs/a.yaml": "a: 1\n"},
    commands=[["sbatch", "a b.sh"], ["squeue"]],
    notes=["the queue is long"],
)


def test_what_is_printed():
    assert files.text_of(PREPARED, "/x") == (
        "# file /x/run.sh\n#!/bin/sh\ntrue\n\n# file /x/logs/a.yaml\na: 1\n\n"
        "sbatch 'a b.sh'\nsqueue\n# note: the queue is long\n"
    )


def test_what_is_written(tmp_path):
    files.write(PREPARED, str(tmp_path / "new"))
    files.write(PREPARED, str(tmp_path / "new"))
    script = tmp_path / "new/run.sh"
    assert script.read_text() == PREPARED.files["run.sh"]
    assert os.access(script, os.X_OK)
    assert not os.access(tmp_path / "new/logs/a.yaml", os.X_OK)
    assert (tmp_path / "new/logs/a.yaml").read_text() == "a: 1\n"


def python(code):
    return [sys.executable, "-S", "-c", code]


def test_commands_stop_at_the_first_that_fails(capfd):
    commands = [
        python("print('a')"),
        python("raise SystemExit(7)"),
        python("print('b')"),
    ]
    assert run_in_order(commands) == 7
    assert capfd.readouterr().out == "a\n"
    assert run_in_order(commands[:1]) == 0


def test_a_program_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="no-such-sbatch is not installed here"):
        run_in_order([["no-such-sbatch", "x"]])
