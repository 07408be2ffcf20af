"""Paths are what their writers meant, and folders that cannot be made are told."""

import pathlib

import pytest

from dro_jax import paths
from dro_jax.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUN", "run 7")
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("~/runs", "{home}/runs"),
        ("~", "{home}"),
        ("$HOME/$RUN", "{home}/run 7"),
        ("${RUN}b", "run 7b"),
        ("runs/a", "runs/a"),
        ("../a", "../a"),
        ("file:///data/a", "/data/a"),
        ("a~b", "a~b"),
        ("price in $", "price in $"),
        ("gs://bucket/$RUN/~", "gs://bucket/$RUN/~"),
        (pathlib.Path("~/runs"), "{home}/runs"),
    ],
)
def test_paths_are_expanded(given, meant, home):
    assert paths.expanded(given) == meant.format(home=home)


def test_what_exists_under_its_literal_name_is_that(home):
    (home / "~").mkdir()
    (home / "$NOT_SET").touch()
    assert paths.expanded("~") == "~"
    assert paths.expanded("$NOT_SET") == "$NOT_SET"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("$NOT_SET/runs", "variable NOT_SET, which is not set"),
        ("~nobody-of-this-name/runs", "the home of a user who does not exist"),
    ],
)
def test_no_folder_is_made_of_what_cannot_be_expanded(given, message):
    with pytest.raises(ConfigError, match=message):
        paths.expanded(given)


def test_folders_are_made_or_refused_by_one_message(home):
    assert paths.make_folder(home / "a/b", "MODEL_DIR").is_dir()
    paths.make_folder(home / "a/b", "MODEL_DIR")
    (home / "file").touch()
    for folder in (
        home / "file",
        home / "file/b",
        "/proc/nothing/b",
        "a\0b",
        "a" * 300,
    ):
        messages = []
        for judge in (paths.check_folder, paths.make_folder):
            with pytest.raises(ConfigError, match="MODEL_DIR = .*folder") as caught:
                judge(folder, "MODEL_DIR")
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        assert "\n" not in messages[0]


def test_what_can_be_made_is_not_made_yet(home):
    paths.check_folder(home / "a" / "b", "MODEL_DIR")
    assert list(home.iterdir()) == []


def test_the_step_of_a_checkpoint_is_read_from_its_name():
    assert paths.checkpoint_step("checkpoint_120") == 120
    for other in ("checkpoint_", "checkpoint_1.orbax-checkpoint-tmp", "a_checkpoint_1"):
        assert paths.checkpoint_step(other) is None
