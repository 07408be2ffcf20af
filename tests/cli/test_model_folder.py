"""Which runs may go on in a folder, and what is named otherwise."""

import gin
import pytest
from run_folders import FILES, configuration, written

from dro_jax.cli import model_folder
from dro_jax.errors import ConfigError

LENGTHS = "{'inputs': 18, 'targets': %d}"


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with SETTINGS."""
    return written(tmp_path / "run", configuration())


def refusal(folder, text):
    before = (folder / "config.gin").read_text()
    with pytest.raises(ConfigError) as caught:
        model_folder.prepare(folder, text, overwrite=False)
    assert (folder / "config.gin").read_text() == before
    return str(caught.value)


def changes(message):
    return [line.strip() for line in message.splitlines() if line.startswith("  ")]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"BATCH_SIZE": 16}, ["BATCH_SIZE: 32 → 16"]),
        ({"TAU": 0.5}, ["TAU: 1.0 → 0.5"]),
        # VALUE_LEARNING_RATE is %LEARNING_RATE and needs no line of its own.
        ({"LEARNING_RATE": 3e-4}, ["LEARNING_RATE: 0.0001 → 0.0003"]),
        ({"VALUE_LEARNING_RATE": 3e-4}, ["VALUE_LEARNING_RATE: 0.0001 → 0.0003"]),
        ({"RANDOM_SEED": 1}, ["RANDOM_SEED: 0 → 1"]),
        ({"TAU": 1}, ["TAU: 1.0 → 1"]),
        (
            {"OPTIMIZER": "@optimizers.adamw()"},
            ["OPTIMIZER: @optimizers.adafactor() → @optimizers.adamw()"],
        ),
        (
            {"TASK_FEATURE_LENGTHS": LENGTHS % 8},
            [f"TASK_FEATURE_LENGTHS: {LENGTHS % 24} → {LENGTHS % 8}"],
        ),
        (
            {"train/dataset.DatasetConfig.batch_size": 8},
            ["train/dataset.DatasetConfig.batch_size: 32 → 8"],
        ),
        (
            {"optimizers.adafactor.decay_rate": 0.9},
            ["optimizers.adafactor.decay_rate: not set → 0.9"],
        ),
        (
            {"BATCH_SIZE": 16, "TAU": 0.5, "EVAL_DATASET": "None"},
            ["BATCH_SIZE: 32 → 16",
             "EVAL_DATASET: @train_eval/dataset.DatasetConfig() → None",
             "TAU: 1.0 → 0.5"],
        ),
    ],
)  # fmt: skip
def test_another_configuration_is_refused_with_what_changed(settings, expected, folder):
    message = refusal(folder, configuration(**settings))
    assert str(folder) in message
    assert changes(message) == expected
    assert "--overwrite" in message


def test_a_change_that_is_allowed_is_kept_with_its_step(folder, capsys):
    before = configuration()
    settings = {"LEARNING_RATE": 3e-4, "EVAL_PERIOD": 5, "TRAIN_STEPS": 200}
    changed = configuration(**settings)
    message = refusal(folder, changed)
    assert message.endswith("add --allow_change=EVAL_PERIOD,LEARNING_RATE")
    names = ["LEARNING_RATE", "EVAL_PERIOD", "TRAIN_STEPS"]
    assert len(model_folder.check(folder, changed, False, names)) == 2
    assert (folder / "config.gin").read_text() == before
    model_folder.prepare(folder, changed, overwrite=False, allow_change=names)
    assert (folder / "config.gin").read_text() == changed
    assert (folder / "config_until_step_100.gin").read_text() == before
    shown = capsys.readouterr().err
    assert "changed from step 100 on:" in shown
    assert changes(shown) == ["EVAL_PERIOD: 1000 → 5", "LEARNING_RATE: 0.0001 → 0.0003"]
    # Again before the next checkpoint: the first configuration made those steps.
    again = configuration(**settings, WARMUP_STEPS=7)
    model_folder.prepare(folder, again, overwrite=False, allow_change=["WARMUP_STEPS"])
    assert (folder / "config_until_step_100.gin").read_text() == before
    model_folder.prepare(folder, again, overwrite=True)
    assert {path.name for path in folder.iterdir()} == {"config.gin"}


@pytest.mark.parametrize(
    "settings",
    [
        {"BATCH_SIZE": 16},
        {"TAU": 0.5},
        {"RANDOM_SEED": 1},
        {"OPTIMIZER": "@optimizers.adamw()"},
        {"MAX_GRAD_NORM": 1.0},
        {"TASK_FEATURE_LENGTHS": LENGTHS % 8},
        {"t5_config.T5Config.emb_dim": 64},
    ],
)
def test_what_a_run_learns_may_not_be_changed_on_the_way(settings, folder):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"--allow_change={name}: a run cannot go on"):
        model_folder.prepare(
            folder, configuration(**settings), overwrite=False, allow_change=[name]
        )
    assert "--allow_change" not in refusal(folder, configuration(**settings))


def test_removed_settings_are_named(tmp_path):
    folder = written(
        tmp_path / "run", configuration(**{"optimizers.adafactor.decay_rate": 0.9})
    )
    message = refusal(folder, configuration())
    assert changes(message) == ["optimizers.adafactor.decay_rate: 0.9 → not set"]


def test_another_objective_is_named_by_its_settings(folder):
    files = [name.replace("dro_v", "nll") for name in FILES]
    message = refusal(folder, configuration(files))
    # The settings of DROV and ValueConfig are their defaults, and go without a word.
    assert changes(message) == [
        "OBJECTIVE: @objectives.DROV() → @objectives.NLL()",
        "VALUE: @value.ValueConfig() → None",
    ]


def test_what_a_scope_inherits_is_known(tmp_path):
    head = "from dro_jax.training import train\n"
    folder = written(tmp_path / "run", f"{head}train.train.log_period = 5\n")
    same = f"{head}train.train.log_period = 5\na/b/train.train.log_period = 5\n"
    model_folder.prepare(folder, same, overwrite=False)
    (line,) = changes(refusal(folder, f"{same}a/train.train.log_period = 100\n"))
    # The default, 100, is not what the scope took before.
    assert line == "a/train.train.log_period: 5 → 100"


def test_a_long_list_is_cut(folder):
    settings = {
        f"t5_config.T5Config.{n}": 4 for n in ("emb_dim", "head_dim", "mlp_dim")
    }
    settings |= {f"optimizers.adafactor.{n}": 1 for n in ("decay_rate", "weight_decay")}
    many = {f"{scope}/{n}": v for scope in "abcde" for n, v in settings.items()}
    listed = changes(refusal(folder, configuration(**many)))
    assert len(listed) == 21
    assert listed[-1] == "and 5 more"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"MODEL_DIR": "'/elsewhere'"},
        {"CHECKPOINT_PERIOD": 7, "KEEP_CHECKPOINTS": "None"},
        {"checkpoints.CheckpointConfig.period": 7},
        {"TRAIN_STEPS": 200},
        {"train.train.total_steps": 200},
        # The code's defaults, and the same values set in another way.
        {"optimizers.adafactor.decay_rate": 0.8, "train.train.tensorboard": True},
        {"optimizers.adafactor.weight_decay": None},
        {"BATCH_SIZE": 32, "VALUE_LEARNING_RATE": 1e-4},
        {"train/dataset.DatasetConfig.batch_size": 32},
    ],
)
def test_what_changes_no_step_may_differ(settings, folder):
    text = configuration(**settings)
    model_folder.prepare(folder, text, overwrite=False)
    assert (folder / "config.gin").read_text() == text
    assert (folder / "checkpoint_100").is_dir()


MESH = """
from __gin__ import dynamic_registration
from dro_jax.training import sharding
from dro_jax.training import train
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "",
            "train.train.mesh = @sharding.MeshConfig()\nsharding.MeshConfig.data = 8\n",
        ),
        (
            "sharding.MeshConfig.data = %DATA_PARALLEL\nDATA_PARALLEL = 8\n",
            "sharding.MeshConfig.data = %DATA_PARALLEL\nDATA_PARALLEL = 2\n",
        ),
        (
            "train.train.x = %FSDP\nFSDP = True\n",
            "train.train.x = %FSDP\nFSDP = False\n",
        ),
        ("train.train.model_dir = '/a'\n", "train.train.model_dir = '/b'\n"),
        ("NOTHING_USES_IT = 1\n", "NOTHING_USES_IT = 2\n"),
        (
            "train.train.watchdog = %WATCHDOG_SECONDS\nWATCHDOG_SECONDS = 60\n",
            "train.train.watchdog = %WATCHDOG_SECONDS\nWATCHDOG_SECONDS = 600\n",
        ),
    ],
)
def test_a_run_may_go_on_on_another_mesh_or_machine(old, new, tmp_path):
    folder = written(tmp_path / "run", MESH + old)
    model_folder.prepare(folder, MESH + new, overwrite=False)
    model_folder.prepare(folder, MESH + old, overwrite=False)


DECODING = """\
from __gin__ import dynamic_registration
from dro_jax.models import decoding
from dro_jax.training import train
from dro_jax.training.online import fresh_samples
train.train.fresh_samples = %FRESH_SAMPLES
"""


def test_rows_of_samples_may_be_scheduled_otherwise_where_none_is_trained_on(tmp_path):
    one, two = (
        f"{DECODING}decoding.DecodingConfig.batches_in_turn = {n}\nFRESH_SAMPLES = "
        for n in (1, 2)
    )
    folder = written(tmp_path / "run", one + "None\n")
    model_folder.prepare(folder, two + "None\n", overwrite=False)
    samples = "@fresh_samples.FreshSamples()\n"
    message = refusal(written(tmp_path / "online", one + samples), two + samples)
    assert changes(message) == ["decoding.DecodingConfig.batches_in_turn: 1 → 2"]


def test_more_microbatches_are_another_configuration(tmp_path):
    one, two = (f"{MESH}train.train.num_microbatches = {n}\n" for n in (1, 2))
    message = refusal(written(tmp_path / "run", one), two)
    assert changes(message) == ["train.train.num_microbatches: 1 → 2"]


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_schedule_that_ends_fixes_the_number_of_steps(decay, tmp_path):
    settings = {"DECAY": f"'{decay}'", "WARMUP_STEPS": 10}
    folder = written(tmp_path / "run", configuration(**settings))
    (line,) = changes(refusal(folder, configuration(TRAIN_STEPS=200, **settings)))
    assert line.startswith("TRAIN_STEPS: 100 → 200 (a schedule decays to this step")


def test_names_of_modules_do_not_matter(tmp_path):
    one = "from dro_jax.training import train\ntrain.train.log_period = 1\n"
    other = "from dro_jax.training import train as t\nt.train.log_period = 1\n"
    third = (
        "import dro_jax.training.train\ndro_jax.training.train.train.log_period = 1\n"
    )
    folder = written(tmp_path / "run", one)
    model_folder.prepare(folder, other, overwrite=False)
    model_folder.prepare(folder, third, overwrite=False)
    (line,) = changes(refusal(folder, other.replace("= 1", "= 2")))
    assert line == "t.train.log_period: 1 → 2"


@pytest.mark.parametrize(
    "state",
    [
        {"metrics": None, "checkpoint": False},
        {"metrics": "", "checkpoint": False},
    ],
)
def test_where_nothing_was_trained_nothing_is_at_stake(state, tmp_path):
    folder = written(tmp_path / "run", configuration(), **state)
    text = configuration(BATCH_SIZE=16)
    model_folder.prepare(folder, text, overwrite=False)
    assert (folder / "config.gin").read_text() == text


@pytest.mark.parametrize("state", [{"metrics": None}, {"checkpoint": False}])
def test_metrics_or_a_checkpoint_alone_are_a_run(state, tmp_path):
    folder = written(tmp_path / "run", configuration(), **state)
    refusal(folder, configuration(BATCH_SIZE=16))


def test_a_new_folder_is_made_with_its_configuration(tmp_path):
    folder = tmp_path / "a" / "b"
    model_folder.prepare(folder, "X = 1\n", overwrite=False)
    assert [path.name for path in folder.iterdir()] == ["config.gin"]


@pytest.mark.parametrize("content", [None, b"X = (", b"\xff"])
def test_a_run_of_unknown_configuration_is_refused(content, folder):
    (folder / "config.gin").unlink()
    if content is not None:
        (folder / "config.gin").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be known whether this configuration"):
        model_folder.prepare(folder, configuration(), overwrite=False)


def test_a_file_is_no_model_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file: name a folder"):
        model_folder.prepare(tmp_path / "file", "", overwrite=True)
