"""VOCAB_SIZE comes from the run, the checkpoint or the task, where nobody sets it."""

import gin
import pytest
import seqio
import stored

from dro_jax.cli import gin_setup, vocabulary_size
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.errors import CheckpointError

FILES = [f"gin_configs/{path}.gin" for path in ("models/tiny", "objectives/nll")]
TASK = "bytes_of_my_own"


@pytest.fixture(autouse=True)
def task():
    register_feedback_task(
        TASK, JsonlSource({"train": "not_read.jsonl"}), vocabulary="byte"
    )
    yield
    seqio.TaskRegistry.remove(TASK)
    gin.clear_config()


def settled(*bindings, folder=None, files=(*FILES, "gin_configs/runs/train.gin")):
    gin_setup.parse(
        files,
        [
            f"MIXTURE_OR_TASK_NAME = '{TASK}'",
            "MIXTURE_OR_TASK_MODULE = None",
            "TASK_FEATURE_LENGTHS = {'inputs': 8, 'targets': 8}",
            "MODEL_DIR = 'not_made'",
            "TRAIN_STEPS = 1",
            *bindings,
        ],
    )
    vocabulary_size.settle(folder)
    return gin_setup.macro("MODEL").network_config.vocab_size


def test_a_run_from_nothing_has_the_rows_that_its_vocabulary_needs(capsys):
    # 256 bytes and 3 special tokens, rounded up to a multiple of 128.
    assert settled() == 384
    assert "VOCAB_SIZE = 384 (the task's vocabulary has 259 pieces)" in (
        capsys.readouterr().err
    )
    # What generate and score read.
    assert "\nVOCAB_SIZE = 384\n" in gin.config_str()


def test_what_is_set_is_left_alone(capsys):
    assert settled("VOCAB_SIZE = 512") == 512
    byt5 = ["gin_configs/models/byt5_small.gin", *FILES[1:]]
    assert settled(files=[*byt5, "gin_configs/runs/train.gin"]) == 384
    assert not capsys.readouterr().err


def test_a_run_goes_on_with_the_rows_that_it_has(tmp_path):
    settled("VOCAB_SIZE = 32128")
    (tmp_path / "config.gin").write_text(gin.config_str())
    assert settled(folder=tmp_path) == 32128


def test_a_run_from_a_checkpoint_has_its_rows(tmp_path, capsys):
    path = stored.legacy_path("t5_1_1")
    assert settled(f"INITIAL_CHECKPOINT_PATH = '{path}'") == 384
    assert f"VOCAB_SIZE = 384 (that of {path})" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="no checkpoint at .*missing"):
        settled(f"INITIAL_CHECKPOINT_PATH = '{tmp_path}/missing'")


def test_without_a_derived_size_the_network_is_that_of_t5():
    gin_setup.parse(FILES, [])
    assert gin_setup.macro("MODEL").network_config.vocab_size == 32128
