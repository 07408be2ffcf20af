"""What `dro-jax train --overwrite` deletes, and what it leaves alone."""

import gin
import pytest
from run_folders import configuration

from dro_jax.cli import model_folder
from dro_jax.errors import ConfigError

MADE = (
    "config.gin", "metrics.jsonl", "metrics.partial", "reward_statistics.json",
    "non_finite_step_17.json", "checkpoint_100/state/d/data",
    "checkpoint_200.orbax-checkpoint-tmp/state/data",
    "checkpoint_200.orbax-checkpoint-tmp-1700000000/x",
    "tensorboard/events.out.tfevents.1", "reference_cache/key.json",
    "reference_cache.json", "value_of_reference/fit.npz", "value_of_reference.json",
)  # fmt: skip
OTHERS = (
    "notes.txt", "config.gin.bak", "my.json", "checkpoint_best/state/data",
    "checkpoint_100_copy/state/data", "my_checkpoint_100/x", "data/metrics.jsonl",
    "checkpoint_7", "reports/checkpoint_100/x", "non_finite_step_x.json",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


def filled(folder):
    for name in (*MADE, *OTHERS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def files(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def test_overwrite_deletes_what_a_run_makes_and_nothing_else(tmp_path, capsys):
    folder = filled(tmp_path / "run")
    text = configuration(BATCH_SIZE=16)
    model_folder.prepare(folder, text, overwrite=True)
    assert files(folder) == sorted([*OTHERS, "config.gin"])
    assert (folder / "config.gin").read_text() == text
    shown = capsys.readouterr().out
    assert "checkpoint_100" in shown
    assert "notes.txt" not in shown


def test_overwrite_follows_no_link(tmp_path):
    kept = filled(tmp_path / "kept")
    before = files(kept)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoint_100").symlink_to(kept / "checkpoint_100")
    (folder / "tensorboard").symlink_to(kept / "tensorboard")
    (folder / "mine").symlink_to(kept)
    model_folder.prepare(folder, configuration(), overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["config.gin", "mine"]
    assert files(kept) == before


@pytest.mark.parametrize("start", [".", "checkpoint_100", "sub/../checkpoint_100"])
def test_overwrite_keeps_the_checkpoint_to_start_from(start, tmp_path, monkeypatch):
    folder = filled(tmp_path / "run")
    before = files(folder)
    monkeypatch.chdir(tmp_path)
    text = configuration(INITIAL_CHECKPOINT_PATH=f"'run/{start}'")
    with pytest.raises(ConfigError, match="whose checkpoints --overwrite deletes"):
        model_folder.prepare(folder, text, overwrite=True)
    assert files(folder) == before


def test_overwrite_of_nothing_is_a_new_run(tmp_path, capsys):
    model_folder.prepare(tmp_path / "new", "X = 1\n", overwrite=True)
    assert files(tmp_path / "new") == ["config.gin"]
    assert capsys.readouterr().out == ""
