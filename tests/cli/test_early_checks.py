"""What is refused before TensorFlow is imported: `check` alone runs here."""

import pathlib

import pytest

from dro_jax.cli import early_checks
from dro_jax.cli.gin_files import parse_statements
from dro_jax.cli.gin_selectors import check_selectors
from dro_jax.cli.main import gin_bindings
from dro_jax.cli.parser import build_parser
from dro_jax.errors import UserError

FILES = [
    f"--gin_file=gin_configs/{name}.gin"
    for name in ("models/tiny", "objectives/dro_v", "tasks/support_desk", "runs/train")
]


def check(command, *flags):
    arguments, rest = build_parser().parse_known_args([command, *flags])
    arguments.gin_bindings = gin_bindings(rest)
    early_checks.check(arguments)


def train_flags(**settings):
    settings = {"MODEL_DIR": "'/tmp/new/model'", "TRAIN_STEPS": 2} | settings
    return [*FILES, *(f"--gin.{name}={value}" for name, value in settings.items())]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MODEL_DIR": "'/proc/model'"}, "MODEL_DIR = '/proc/model' cannot be made (No such"),
        ({"MODEL_DIR": "'README.md/x'"}, "README.md is a file: name a folder"),
        ({"REFERENCE_CACHE_DIR": "'/proc/c'"}, "REFERENCE_CACHE_DIR = '/proc/c' cannot be"),
        ({"INITIAL_CHECKPOINT_PATH": "'/no/such'"}, "no checkpoint at /no/such"),
        ({"INITIAL_CHECKPOINT_PATH": "''"}, "INITIAL_CHECKPOINT_PATH is empty"),
        ({"RANDOM_SEED": 2**32}, "RANDOM_SEED = 4294967296: give a number of 32 bits"),
        ({"TRAIN_STEPS": "'2'"}, "TRAIN_STEPS is a whole number, and this is text"),
        ({"TRAIN_STEPS": "None"}, "TRAIN_STEPS is a whole number, and this is None"),
        ({"PACK": "None"}, "PACK is True or False, and this is None"),
        ({"TRAIN_STEPS": "1e3"}, "TRAIN_STEPS is a whole number, and this is 1000.0"),
        ({"EVAL_PERIOD": "True"}, "EVAL_PERIOD is a whole number, and this is True"),
        ({"PACK": "'yes'"}, "PACK is True or False, and this is text"),
        ({"MAX_GRAD_NORM": "'1'"}, "MAX_GRAD_NORM is a number or None, and this is text"),
        ({"MIXTURE_OR_TASK_MODULE": "'no_such_tasks'"}, "named by MIXTURE_OR_TASK_MODULE"),
        ({"OPTIMIZER": "@optimizers.adamm()"}, "adamm; did you mean optimizers.adamw?"),
        ({"train.train.eval_perod": 3}, "'eval_perod'; did you mean train.train.eval_period?"),
        ({"EVAL_PERIDO": 3}, "did you mean EVAL_PERIOD?"),
    ],
)  # fmt: skip
def test_a_run_is_refused_at_once(settings, message):
    with pytest.raises(UserError) as raised:
        check("train", *train_flags(**settings))
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["TRAIN_PATH", "VALIDATION_PATH", "VOCABULARY"])
def test_a_file_that_is_not_there_is_named_with_its_setting(name, tmp_path):
    files = [flag.replace("support_desk", "jsonl") for flag in FILES]
    logs = tmp_path / "logs.jsonl"
    logs.touch()
    settings = {
        "MODEL_DIR": f"'{tmp_path}/model'",
        "TRAIN_STEPS": 1,
        "TRAIN_PATH": f"'{tmp_path}/*.jsonl'",
        "VALIDATION_PATH": f"'{tmp_path}'",
        "VOCABULARY": f"'{logs}'",
    }

    def flags():
        return [*files, *(f"--gin.{key}={value}" for key, value in settings.items())]

    check("train", *flags())
    settings[name] = "'/no/such/*.x'"
    with pytest.raises(UserError, match=rf"{name} = '/no/such/\*.x': there is no such"):
        check("train", *flags())


def test_what_is_right_passes_and_leaves_nothing(tmp_path):
    folder = tmp_path / "a" / "b"
    settings = {"MODEL_DIR": f"'{folder}'", "LEARNING_RATE": 1}
    start = {"INITIAL_CHECKPOINT_PATH": f"'{tmp_path}'"}
    check("train", *train_flags(**settings, **start))
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_is_typed_is_found_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "tasks_of_my_own.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path.parent))  # undone with all that is added
    check("tasks", "list", "--module=tasks_of_my_own")
    module = {"MIXTURE_OR_TASK_MODULE": "'tasks_of_my_own'"}
    check("train", *train_flags(**module))
    with pytest.raises(
        UserError, match="'my_taks', named by --module, cannot be found"
    ):
        check("tasks", "list", "--module=my_taks")
    run = str(tmp_path)
    for command in (
        ("evaluate", run),
        ("report", run, "--task=t", "--output=out"),
        ("calibrate", "--output_dir=out"),
    ):
        check(*command, "--module=tasks_of_my_own")
        with pytest.raises(UserError, match="'my_taks', named by --module, cannot"):
            check(*command, "--module=my_taks")


@pytest.mark.parametrize("command", ["generate", "score"])
def test_a_model_that_is_not_there_is_named(command):
    flags = ["--output=out.jsonl", "--input=in.jsonl"]
    with pytest.raises(UserError, match="--model_dir /no/model: there is no such"):
        check(command, "--model_dir=/no/model", *flags)


@pytest.mark.parametrize(
    "path", sorted(pathlib.Path("gin_configs").glob("*/*.gin")), ids=str
)
def test_shipped_files_pass(path):
    check_selectors(parse_statements(path.read_text(), str(path)), [])


def test_what_cannot_be_known_is_left_to_gin():
    text = """
from dro_jax import objectives
from dro_jax.training import optimizers
import optax
optimizers.OptimizerConfig.optimizer = @optax.no_such_thing()
"""
    check_selectors(parse_statements(text, "a file"), [])


@pytest.mark.parametrize("command", ["generate", "score"])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model_dir=gs://b/run"], "gs://b/run: give a local folder"),
        (["--model_dir=no_such"], "--model_dir no_such: there is no such folder"),
        (
            ["--model_dir=RUN/checkpoint_20/"],
            "lie beside it: give --model_dir=RUN --step=20",
        ),
        # These answered no prompt, and replaced the output by nothing.
        (["--model_dir=RUN", "--batch_size=-1"], "--batch_size must be at least 1, got -1"),
        (["--model_dir=RUN", "--batch_size=0"], "--batch_size must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_the_use_of_a_model_is_refused_at_once(command, flags, message, tmp_path):
    (tmp_path / "checkpoint_20").mkdir()
    run = str(tmp_path)
    flags = [flag.replace("RUN", run) for flag in flags]
    with pytest.raises(UserError) as raised:
        check(command, *flags, "--input=-", "--output=-")
    assert message.replace("RUN", run) in str(raised.value)


def test_folders_to_search_must_be_there(tmp_path):
    with pytest.raises(UserError, match="--gin_search_paths: .*/none is no folder"):
        check("train", *train_flags(), f"--gin_search_paths={tmp_path},{tmp_path}/none")
