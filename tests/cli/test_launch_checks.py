"""What is looked up before a launch on other machines."""

import pytest

from dro_jax.cli import look_up_task
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.launch_checks import checks_of, run_checks
from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job

JOB = Job(
    "a",
    ("dro-jax", "train", "--gin_file", "a.gin", "--gin_file=b.gin", "--overwrite",
     "--gin.X=1", "--allow_import=mine", "--allow_change", "TRAIN_STEPS"),
)  # fmt: skip
LOOK_UP = ["python", "-m", "dro_jax.cli.look_up_task"]


def configuration(text):
    return Configuration.parse(text, "a test")


def test_the_plan_is_asked_with_the_gin_flags_of_the_command():
    assert checks_of(JOB, None, "v5e:4x4") == [
        ["dro-jax", "plan", "--topology=v5e:4x4", "--gin_file", "a.gin",
         "--gin_file=b.gin", "--gin.X=1", "--allow_import=mine"]
    ]  # fmt: skip
    assert checks_of(JOB, None, None) == []
    t5x = Job("a", ("python", "-m", "t5x.train", "--gin_file=a.gin"))
    assert checks_of(t5x, None, "v5e:4x4") == []


@pytest.mark.parametrize(
    "text, found",
    [
        ("MIXTURE_OR_TASK_NAME = 'a'\nMIXTURE_OR_TASK_MODULE = 'm, n'",
         [[*LOOK_UP, "a", "m", "n"]]),
        ("N = 'a'\nMIXTURE_OR_TASK_NAME = %N\nMIXTURE_OR_TASK_MODULE = ['m']",
         [[*LOOK_UP, "a", "m"]]),
        # Made of settings: there is nothing to look up.
        ("MIXTURE_OR_TASK_NAME = @jsonl.jsonl_task()\nMIXTURE_OR_TASK_MODULE = None", []),
        ("", []),
    ],
)  # fmt: skip
def test_the_task_is_looked_up_by_its_name(text, found):
    assert checks_of(JOB, configuration(text), None) == found


def test_a_task_is_found_or_refused(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = "dro_jax.tasks.support_desk.task"
    assert look_up_task.main("support_desk", module) == 0
    assert look_up_task.main("support_desks", module) == 2
    assert "Near names: support_desk" in capfd.readouterr().err
    assert look_up_task.main("a", "no_such_module") == 2
    assert "'no_such_module', named by MIXTURE" in capfd.readouterr().err


def test_what_a_look_up_answers_is_told(capfd):
    run_checks([["python", "-c", "pass"]])
    assert "… yes (" in capfd.readouterr().err
    with pytest.raises(ConfigError, match="task cannot be found: see above"):
        run_checks([["python", "-c", "raise SystemExit(2)"]])
    with pytest.raises(ConfigError, match="cannot be imported here .*--no_plan"):
        run_checks([["python", "-c", "import no_such_module"]])
