"""Paths stand for files, folders of shards, patterns and URLs."""

import json

import fsspec
import pytest

from dro_jax.data.source_files import source_files
from dro_jax.data.sources import JsonlSource
from dro_jax.errors import ConfigError, DataError


@pytest.fixture
def shards(tmp_path):
    """A folder of two shards, written out of order, among what is no data."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in (1, 0):
        text = json.dumps({"n": number}) + "\n"
        (folder / f"part-{number}.jsonl").write_text(text)
    for name in ("_SUCCESS", ".part-0.jsonl.crc", "README.md", "dataset_info.json"):
        (folder / name).write_text("no records")
    return folder


def numbers(*paths):
    records = JsonlSource({"train": [str(path) for path in paths]}).records("train")
    return [record.fields["n"] for record in records]


def test_a_folder_is_its_shards_in_order(shards):
    assert numbers(shards) == [0, 1]


@pytest.mark.parametrize("pattern", ["shards/*", "shards/part-?.jsonl", "**/part-*"])
def test_a_pattern_is_what_it_matches(pattern, shards):
    assert numbers(shards.parent / pattern) == [0, 1]


def test_paths_of_all_kinds_are_read_in_their_order(shards):
    assert numbers(shards / "part-1.jsonl", shards, shards / "*0.jsonl") == [1, 0, 1, 0]


def test_a_name_with_a_sign_of_patterns_is_a_name_where_it_exists(tmp_path):
    path = tmp_path / "what[1]?.jsonl"
    path.write_text('{"n": 5}')
    assert numbers(path) == [5]


def test_home_variables_and_relative_paths(shards, monkeypatch):
    monkeypatch.setenv("HOME", str(shards.parent))
    monkeypatch.setenv("SHARDS", "shards")
    monkeypatch.chdir(shards)
    assert numbers("~/$SHARDS", "~/${SHARDS}/part-0.jsonl") == [0, 1, 0]
    assert numbers("part-1.jsonl", "../shards") == [1, 0, 1]


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(ConfigError, match="variable NOT_SET_HERE, which is not set"):
        JsonlSource({"train": "$NOT_SET_HERE/logs.jsonl"})


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file matches .*none\*"):
        numbers(tmp_path / "none*")
    with pytest.raises(DataError, match="holds no files of records"):
        numbers(tmp_path)
    (tmp_path / "inside").mkdir()
    with pytest.raises(DataError, match=r"only sub-folders \(inside\)"):
        numbers(tmp_path)


def test_splits_in_one_folder_are_not_mixed(tmp_path):
    for name in ("train-0.jsonl", "train-1.jsonl", "validation-0.jsonl"):
        (tmp_path / name).write_text('{"n": 0}\n')
    with pytest.raises(DataError, match=r"splits, train and validation.*a pattern"):
        numbers(tmp_path)
    assert numbers(tmp_path / "train-*") == [0, 0]


def test_files_behind_urls_are_read_by_fsspec(shards):
    memory = fsspec.filesystem("memory")
    for number in (0, 1):
        memory.pipe(f"/bucket/part-{number}", b'{"n": %d}\n' % number)
    memory.pipe("/bucket/_SUCCESS", b"")
    assert numbers("memory://bucket/part-1") == [1]
    assert numbers("memory://bucket") == numbers("memory://bucket/part-*") == [0, 1]
    assert numbers(f"file://{shards}") == [0, 1]
    with pytest.raises(DataError, match="memory://bucket/none does not exist"):
        numbers("memory://bucket/none")


@pytest.mark.parametrize("url", ["foo://bucket/x.jsonl", "foo://bucket/*"])
def test_a_url_of_an_unknown_kind_is_named(url):
    with pytest.raises(DataError, match="foo:// is not supported.*copy the file here"):
        numbers(url)


@pytest.mark.parametrize(
    ("names", "forms"),
    [
        (("train.jsonl", "train.jsonl.gz"), ("train.jsonl", "train.jsonl.gz")),
        (
            ("train-00000-of-00001.parquet", "train.jsonl.gz"),
            ("train-00000-of-00001.parquet", "train.jsonl.gz"),
        ),
        # Of shards one may be packed and the next not.
        (("train-0-of-2.jsonl", "train-1-of-2.jsonl.gz"), None),
        (("train.a.jsonl", "train.b.csv"), None),
    ],
)
def test_a_file_in_two_forms_is_not_read_twice(names, forms, tmp_path):
    for name in names:
        (tmp_path / name).write_text('{"n": 1}\n')
    if forms is None:
        assert len(source_files([f"{tmp_path}/*"], "")) == 2
        return
    told = "{} and [^ ]*{} are by their names one file in two forms".format(*forms)
    for given in (tmp_path, f"{tmp_path}/train*"):
        with pytest.raises(DataError, match=told):
            numbers(given)
    # Who names both means both.
    assert len(source_files([str(tmp_path / name) for name in names], "")) == 2
