"""A damaged store is made anew or told, and never read as something else."""

import json

import numpy as np
import pytest
from split_texts import prompts_of

from dro_jax.data.sources import JsonlSource
from dro_jax.errors import DataError


@pytest.fixture
def open_records(tmp_path, register_source):
    path = tmp_path / "logs.jsonl"
    rows = [{"prompt": f"prompt {i}", "response": "r", "reward": i} for i in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lambda: register_source(JsonlSource({"train": path})).records("train")


def _cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _spoil(path):
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


def _other_version(path):
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "version": 0}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("manifest.json", _cut),
        ("manifest.json", _other_version),
        ("manifest.json", lambda path: path.write_text("[]")),
        ("records.columns", _cut),
        ("records.columns", _spoil),
        ("unit-000000.tokens", _cut),
        ("unit-000000.texts", lambda path: path.unlink()),
    ],
)
def test_a_damaged_store_is_made_anew(name, damage, open_records, capsys):
    folder = open_records().folder
    damage(folder / name)
    records = open_records()
    assert prompts_of(records) == [f"prompt {i}" for i in range(4)]
    assert "cannot be used" in capsys.readouterr().err
    open_records()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["tokens", "texts"])
def test_what_is_damaged_while_it_is_used_is_told(kind, open_records):
    records = open_records()
    _spoil(records.folder / f"unit-000000.{kind}")
    every = np.arange(len(records))
    with pytest.raises(DataError, match=rf"unit-000000\.{kind} are damaged.*delete"):
        for side in ("inputs", "targets"):
            getattr(records, kind)(every, side)


def test_what_is_removed_while_it_is_used_is_told(open_records):
    records = open_records()
    (records.folder / "unit-000000.texts").unlink()
    with pytest.raises(DataError, match=r"unit-000000\.texts cannot be read any more"):
        records.texts(np.arange(2), "inputs")
