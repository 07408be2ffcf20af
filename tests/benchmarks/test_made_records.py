"""Made-up feedback: valid, the same for a seed, whatever the number of files."""

import json

import numpy as np
import pytest

from dro_jax.benchmarks import made_records


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, size in {"_POOL": 20_000, "_WORDS": 500, "_AT_ONCE": 300}.items():
        monkeypatch.setattr(made_records, name, size)


def test_records_are_those_of_the_seed_in_any_number_of_files(tmp_path):
    (whole,) = made_records.write_records(tmp_path / "a", 1000)
    parts = made_records.write_records(tmp_path / "b", 1000, files=3)
    (fewer,) = made_records.write_records(tmp_path / "c", 700)
    (other,) = made_records.write_records(tmp_path / "d", 1000, seed=1)
    text = whole.read_text("utf-8")
    assert "".join(path.read_text("utf-8") for path in parts) == text
    assert [len(path.read_text("utf-8").splitlines()) for path in parts] == [
        333,
        333,
        334,
    ]
    assert text.startswith(fewer.read_text("utf-8"))
    assert other.read_text("utf-8") != text
    records = [json.loads(line) for line in text.splitlines()]
    assert len(records) == 1000
    assert len({record["prompt"] for record in records}) > 900
    assert {tuple(record) for record in records} == {("prompt", "response", "reward")}
    sizes = np.log([len(record["prompt"]) for record in records])
    assert 0.9 < sizes.std() < 1.2


def test_the_command_writes_a_vocabulary_too(tmp_path, capsys):
    import sentencepiece

    made_records.main([str(tmp_path), "--records", "300", "--files", "2"])
    assert "300 records" in capsys.readouterr().out
    model = str(tmp_path / made_records.VOCABULARY)
    pieces = sentencepiece.SentencePieceProcessor(model_file=model)
    assert pieces.eos_id() == 1 and pieces.pad_id() == 0
    first = (tmp_path / "train-00000-of-00002.jsonl").read_text("utf-8").splitlines()[0]
    tokens = pieces.encode(json.loads(first)["prompt"])
    assert tokens and pieces.unk_id() not in tokens
