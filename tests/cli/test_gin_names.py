import pathlib

import pytest

from dro_jax.cli.gin_files import COMMAND_LINE, parse_statements
from dro_jax.cli.gin_names import check_names
from dro_jax.cli.gin_setup import check
from dro_jax.errors import ConfigError

OBJECTIVES = sorted(
    path.stem for path in pathlib.Path("gin_configs/objectives").glob("*.gin")
)
# One command line, written for the whole comparison.
SETTINGS = [
    "MODEL_DIR = '/tmp/model'",
    "TRAIN_STEPS = 10",
    "INITIAL_CHECKPOINT_PATH = '/tmp/reference'",
    "REFERENCE_CACHE_DIR = '/tmp/cache'",
    "REFERENCE = 'cached'",
    "VALUE_LEARNING_RATE = 1e-3",
    "TAU = 0.5",
    "BETA = 0.5",
    "GROUP_SIZE = 4",
    "SAMPLING = 'priority'",
    "THRESHOLD = 0.0",
]


def files_for(objective):
    names = (
        "models/tiny",
        f"objectives/{objective}",
        "tasks/support_desk",
        "runs/train",
    )
    return [f"gin_configs/{name}.gin" for name in names]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_command_line_serves_every_objective(objective, capsys):
    check(files_for(objective), SETTINGS)
    noted = capsys.readouterr().err.splitlines()
    text = pathlib.Path(f"gin_configs/objectives/{objective}.gin").read_text()
    for name in ("TAU", "BETA", "GROUP_SIZE", "SAMPLING", "THRESHOLD"):
        told = any(line.startswith(f"note: {name} is not used by ") for line in noted)
        assert told == (f"%{name}" not in text)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("TUA = 1.0", "--gin.TUA sets a name that no gin file uses; did you mean TAU?"),
        (
            "FOO = 1.0",
            "no gin file uses. The names in use, which `dro-jax settings` explains: ATTEN",
        ),
        ("TRAIN_STEPS = %gin.REQUIRED", "settings are missing: TRAIN_STEPS. Set them"),
        ("MODEL_DIR = %FOLDER", "settings are missing: FOLDER"),
    ],
)
def test_names_are_known_before_anything_is_imported(binding, message):
    with pytest.raises(ConfigError) as raised:
        check(files_for("dro_v"), [*SETTINGS[:3], binding])
    assert message in str(raised.value)


def test_names_that_the_command_reads_itself_are_used():
    typed = parse_statements("MIXTURE_OR_TASK_NAME = 'mine'", COMMAND_LINE)
    check_names([], typed, asked_for=["MIXTURE_OR_TASK_NAME"])
    with pytest.raises(ConfigError, match="sets a name that no gin file uses"):
        check_names([], typed)


def test_a_setting_that_is_overridden_is_no_use():
    wanted = parse_statements("A = 1\nx.Y.z = %B\nx.Y.z = 3\nB = 2", COMMAND_LINE)
    with pytest.raises(ConfigError, match="--gin.B sets a name"):
        check_names(wanted[1:3], wanted[3:])
