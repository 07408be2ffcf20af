"""gin files and flags that call what ships by its names of before."""

import pathlib

import foreign_project
import gin
import pytest

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration, differences
from dro_jax.cli.gin_old_names import with_new_names
from dro_jax.cli.main import main
from dro_jax.cli.restored import READ_OF_A_FOLDER
from dro_jax.errors import ConfigError

HEAD = "from __gin__ import dynamic_registration\n"
# Written by `dro-jax train` before the names changed.
SAVED = pathlib.Path(__file__).parent / "saved"
SMALL = {"emb_dim": 16, "num_heads": 2, "head_dim": 8, "mlp_dim": 16} | dict.fromkeys(
    ("num_encoder_layers", "num_decoder_layers"), 1
)
QUICKSTART = "dro_jax/gin_configs/runs/quickstart_reference.gin"


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in the current folder and on the path; what its `tasks` leaves."""
    marker = foreign_project.make(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return marker


def composed(task, **settings):
    """What today's files make of a saved run's settings."""
    files = ("models/tiny", "objectives/nll", f"tasks/{task}", "runs/train")
    bindings = [f"t5_config.T5Config.{name} = {value}" for name, value in SMALL.items()]
    bindings += [f"{name} = {value!r}" for name, value in settings.items()]
    gin_setup.parse([f"dro_jax/gin_configs/{name}.gin" for name in files], bindings)
    return Configuration.parse(gin.config_str(), "today's")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from tasks import jsonl\n", "from dro_jax.tasks import jsonl\n"),
        (
            "from tasks.support_desk import task as t  # tasks.hha\n",
            "from dro_jax.tasks.support_desk import task as t  # tasks.hha\n",
        ),
        ("import tasks.jsonl as j\n", "import dro_jax.tasks.jsonl as j\n"),
        (
            "import tasks.jsonl\nX = [@s/tasks.jsonl.f(), 'tasks.jsonl', %a.tasks.hha]\n",
            "import dro_jax.tasks.jsonl\n"
            + "X = [@s/dro_jax.tasks.jsonl.f(), 'tasks.jsonl', %a.tasks.hha]\n",
        ),
        (
            "import tasks.jsonl\na/tasks.jsonl.f:\n  x = 1\ny.tasks.jsonl.z = 2\n",
            "import dro_jax.tasks.jsonl\n"
            + "a/dro_jax.tasks.jsonl.f:\n  x = 1\ny.tasks.jsonl.z = 2\n",
        ),
        (
            "MIXTURE_OR_TASK_MODULE = 'tasks.hha'\n",
            "MIXTURE_OR_TASK_MODULE = 'dro_jax.tasks.hha'\n",
        ),
        (
            'MIXTURE_OR_TASK_MODULE = ["my.tasks", \\\n  "mine, tasks.hha"]',
            "MIXTURE_OR_TASK_MODULE = [\"my.tasks\", \\\n  'mine,dro_jax.tasks.hha']",
        ),
        (
            "train/dataset.DatasetConfig:\n  module = 'tasks.support_desk.task'\n",
            "train/dataset.DatasetConfig:\n  module = 'dro_jax.tasks.support_desk.task'\n",
        ),
    ],
)
def test_what_ships_is_called_by_its_name_of_today(old, new):
    assert with_new_names(old) == new
    assert with_new_names(new) == new


@pytest.mark.parametrize(
    "text",
    [
        "TRAIN_PATH = 'tasks.jsonl'\n",  # a file may be called so
        "from tasks import mine\n",
        "from my import tasks\nX = @tasks.jsonl.f()\n",
        "MIXTURE_OR_TASK_MODULE = 'tasks.mine'\n",
        "tasks = '''\n",
        "  tasks\n x",
        "MIXTURE_OR_TASK_MODULE = f'tasks.hha'\n",
        "",
    ],
)
def test_everything_else_is_left_alone(text):
    assert with_new_names(text) == text


def test_a_name_of_somebodys_own_is_left_alone(project):
    text = "from tasks import jsonl\nfrom tasks import hha\n"
    assert with_new_names(text) == text.replace(
        "tasks import h", "dro_jax.tasks import h"
    )
    assert not project.exists()


@pytest.mark.parametrize("name", ["desk", "jsonl"])
def test_a_saved_configuration_is_read_as_it_was_meant(name, tmp_path):
    gin_setup.parse([str(SAVED / f"{name}.gin")], [], only=READ_OF_A_FOLDER)
    module = gin_setup.macro("MIXTURE_OR_TASK_MODULE")
    if name == "desk":
        assert module == "dro_jax.tasks.support_desk.task"
    else:
        assert module is None
        assert "from dro_jax.tasks import jsonl" in gin.config_str()


def test_saved_runs_go_on_without_a_difference():
    shared = {"TRAIN_STEPS": 2, "BATCH_SIZE": 8, "LOG_PERIOD": 1}
    data = dict.fromkeys(("TRAIN_PATH", "VALIDATION_PATH"), "/tmp/logs.jsonl")
    lengths = {"inputs": 8, "targets": 4}
    for name, new in (
        ("desk", composed("support_desk", MODEL_DIR="/tmp/desk", **shared)),
        (
            "jsonl",
            composed(
                "jsonl",
                MODEL_DIR="/tmp/jsonl",
                TASK_FEATURE_LENGTHS=lengths,
                **data,
                **shared,
            ),
        ),
    ):
        text = (SAVED / f"{name}.gin").read_text("utf-8")
        assert list(map(str, differences(Configuration.parse(text, name), new))) == []


def test_a_projects_own_tasks_are_not_for_files_to_import(project, tmp_path):
    for text, name in (
        ("from tasks import jsonl\n", "tasks.jsonl"),
        ("from tasks import mine\n", "tasks.mine"),
        ("MIXTURE_OR_TASK_MODULE = 'tasks.mine'\n", "tasks.mine"),
        ("MIXTURE_OR_TASK_MODULE = 'tasks.jsonl'\n", "tasks.jsonl"),
    ):
        path = tmp_path / "x.gin"
        path.write_text(HEAD + text)
        with pytest.raises(ConfigError, match=f"--allow_import={name}$") as caught:
            gin_setup.parse([str(path)], [])
        assert ("Ours is dro_jax.tasks.jsonl." in str(caught.value)) == (
            name == "tasks.jsonl"
        )
        assert not project.exists()


def test_a_file_that_means_ours_imports_nothing_of_the_projects(project, tmp_path):
    (tmp_path / "tasks" / "jsonl.py").unlink()
    path = tmp_path / "x.gin"
    path.write_text(
        f"{HEAD}import tasks.jsonl\nX = @tasks.jsonl.jsonl_task\nY = %X\n"
        "tasks.jsonl.jsonl_task.name = 'a'\n"
    )
    gin_setup.parse([str(path)], ["tasks.jsonl.jsonl_task.name = b"])
    assert gin_setup.macro("X").__module__ == "dro_jax.tasks.jsonl"
    assert "dro_jax.tasks.jsonl.jsonl_task.name = 'b'" in gin.config_str()
    assert not project.exists()


def test_typed_names_are_ours_unless_the_current_folder_has_them(project):
    def module(typed):
        bindings = ["MODEL_DIR = x", f"MIXTURE_OR_TASK_MODULE = {typed}"]
        gin_setup.parse([QUICKSTART], bindings)
        return gin_setup.macro("MIXTURE_OR_TASK_MODULE")

    assert module("tasks.hha") == "dro_jax.tasks.hha"
    assert module("'tasks.hha'") == "dro_jax.tasks.hha"
    assert module("tasks.mine,tasks.hha") == "tasks.mine,dro_jax.tasks.hha"
    assert module("tasks.jsonl") == "tasks.jsonl"
    assert not project.exists()


def test_files_that_ship_include_what_ships(project, capsys):
    gin_setup.parse([QUICKSTART], ["MODEL_DIR = x"])
    assert gin_setup.macro("TRAIN_STEPS") == 900
    assert capsys.readouterr().err == ""


def test_a_file_of_ones_own_wins_by_the_short_name_and_is_named(project, capsys):
    with pytest.raises(ConfigError, match="gin: gin_configs/models/tiny.gin: line 1"):
        gin_setup.check(["gin_configs/models/tiny.gin"], [])
    path = pathlib.Path("gin_configs/models/tiny.gin")
    path.write_text(
        "include 'dro_jax/gin_configs/models/tiny.gin'\nDTYPE = 'bfloat16'\n"
    )
    files = ["gin_configs/models/tiny.gin", "gin_configs/objectives/nll.gin"]
    gin_setup.parse(files, [])
    assert gin_setup.macro("DTYPE") == "bfloat16"
    assert capsys.readouterr().err.strip() == (
        "note: gin_configs/models/tiny.gin is your own; the file that ships is "
        "dro_jax/gin_configs/models/tiny.gin"
    )


def test_of_a_file_that_comes_twice_the_last_word_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("base.gin").write_text("X = 1\nY = %X\n")
    pathlib.Path("more.gin").write_text("X = 'text'\ninclude 'base.gin'\n")
    read, typed = gin_setup.check(["base.gin", "more.gin"], [])
    assert Configuration.of([*read.statements, *typed]).macros["X"] == 1


def test_commands_work_in_a_project_with_tasks_of_its_own(project, tmp_path, capfd):
    assert main(["tasks", "list", "--module=tasks.support_desk.task"]) == 0
    shown = capfd.readouterr().out
    assert "support_desk_replies" in shown and "hha_sigmoid" in shown
    assert main(["tasks", "inspect", "support_desk", "--split=validation"]) == 0
    assert "500 records" in capfd.readouterr().out
    flags = [f"--gin_file={QUICKSTART}", f"--gin.MODEL_DIR={tmp_path / 'run'}"]
    assert main(["train", "--dry_run", *flags]) == 0
    assert "'dro_jax.tasks.support_desk.task'" in capfd.readouterr().out
    assert not project.exists()
