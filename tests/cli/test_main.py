import subprocess
import sys

import pytest

from dro_jax import messages
from dro_jax.cli import main
from dro_jax.errors import ConfigError

HELP = """
from dro_jax.cli import main
main.build_parser().format_help()
"""


MISSPELT = """
from dro_jax.cli import main
files = ("models/tiny", "objectives/nll", "tasks/support_desk", "runs/train")
flags = [f"--gin_file=gin_configs/{name}.gin" for name in files]
required = ["--gin.MODEL_DIR='/tmp/x'", "--gin.TRAIN_STEPS=1"]
main.main(["train", *flags, *required, "--gin.OPTIMIZER=@optimizers.adamm()"])
"""


@pytest.mark.parametrize(
    ("statements", "heavy"),
    [
        (MISSPELT, {"tensorflow", "jax", "seqio"}),
        (HELP, {"tensorflow", "jax", "seqio", "gin"}),
    ],
    ids=["a misspelt name", "help"],
)
def test_imports_stay_light(statements, heavy):
    code = f"{statements}\nimport sys\nprint(*({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_gin_flags_become_bindings():
    assert main.gin_bindings(["--gin.A=1", "--gin.b.C.d='x=y'"]) == [
        "A = 1",
        "b.C.d = 'x=y'",
    ]


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--steps=3", "is not a flag of this command"), ("--gin.A", "needs a value")],
)
def test_other_flags_are_refused(flag, message):
    with pytest.raises(ConfigError, match=message):
        main.gin_bindings([flag])


def test_an_error_of_the_users_is_one_paragraph_and_status_2(capsys):
    assert main.main(["train", "--gin_file=/no/such/run.gin"]) == 2
    shown = capsys.readouterr().err
    assert "a gin file cannot be found" in shown
    assert "Traceback" not in shown
    assert len(shown.strip().splitlines()) == 1


def test_a_run_needs_a_run_file(capsys):
    assert main.main(["train"]) == 2
    assert "no --gin_file is given" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["generate", "score", "tasks", "train", "quickstart"])
def test_help_says_the_defaults(command, capsys):
    with pytest.raises(SystemExit):
        main.main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    expected = {
        "generate": ["rows at a time, on all devices together (default: 32)", "0 decodes greedily (default: 1.0)"],
        "score": ["rows at a time, on all devices together (default: 32)"],
        "tasks": ["which split: default train;", "how many to show (default: 3)"],
        "train": ["and start anew --allow_change"],
        "quickstart": ["of all that is random (default: 0)"],
    }
    for text in expected[command]:
        assert text in shown


def test_the_commands_for_a_model_are_whole():
    from dro_jax.cli.train_command import what_next

    assert what_next("/tmp/a b", "dro_jax.tasks.hha", []) == [
        "the model is in",
        "  /tmp/a b",
        "to use it:",
        "  dro-jax generate --model_dir='/tmp/a b' --input=FILE --output=FILE",
        "  dro-jax score --model_dir='/tmp/a b' --input=FILE --output=FILE",
    ]
    own = what_next("m", "my_tasks,dro_jax.tasks.hha", ["mine", "my_tasks"])
    assert own[-1].endswith("FILE --allow_import=mine --allow_import=my_tasks")
    assert what_next("m", None, [])[-1].endswith("--output=FILE")


def test_a_reader_that_has_enough_is_no_error():
    flags = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "dro_jax.cli.main", "settings"]
    with subprocess.Popen(command, **flags) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_no_run_of_several_is_done_by_the_first(number, monkeypatch, capsys):
    monkeypatch.setenv("DRO_JAX_COORDINATOR", "localhost:1")
    monkeypatch.setenv("DRO_JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("DRO_JAX_PROCESS_ID", str(number))
    try:
        assert main.main(["settings"]) == 0
    finally:
        messages.set_process(0, 1)
    shown = capsys.readouterr()
    if number:
        assert shown.out == ""
        assert shown.err == "process 1: `settings` is done by process 0 alone\n"
    else:
        assert "MODEL_DIR" in shown.out
