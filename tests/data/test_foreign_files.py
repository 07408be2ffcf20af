"""What holds no records that are read here is named, and never as one bad line."""

import io
import json
import os
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pytest

from dro_jax.data.containers import read_records
from dro_jax.errors import DataError

ROWS = [{"prompt": f"p{i}", "response": "r", "reward": i} for i in range(4)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def _archive(*names):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name in names:
            file.writestr(name, LINES)
    return made.getvalue()


def _tar():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as file:
        file.addfile(tarfile.TarInfo("a.jsonl"))
    return made.getvalue()


def _sqlite():
    with sqlite3.connect(":memory:") as base:
        base.execute("create table records(prompt)")
        return base.serialize()


def _numpy(save):
    made = io.BytesIO()
    save(made, np.zeros(3))
    return made.getvalue()


FILES = {
    "objects end to end": (LINES.replace("\n", ""), "end to end.*jq -c"),
    "a great many end to end": (LINES.replace("\n", "") * 3000, "end to end"),
    "a comma after each": (LINES.replace("\n", ",\n"), "a comma after each"),
    "a comma between": (LINES.replace("\n", ",\n")[:-2], "a comma after each"),
    "indented objects": (
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "spread over several lines",
    ),
    "Python": ("\n".join(map(str, ROWS)), "Python dictionaries, not JSON"),
    "lists of lines": ("[1, 2]\n[3, 4]\n", "a JSON list on each line"),
    "an array of lists": ("[[1, 2],\n [3, 4]]", "JSON array, but not of objects"),
    "a list inside": (json.dumps({"data": ROWS}), r"in the field 'data'.*jq -c \.data"),
    "a long list inside": (
        json.dumps({"version": "1", "rows": ROWS * 5000}, indent=1),
        "in the field 'rows'",
    ),
    "columns": (json.dumps({"prompt": ["a"], "reward": [1]}), "object of columns"),
    "columns of pandas": (
        json.dumps({"prompt": {"0": "a"}, "reward": {"0": 1}}, indent=1),
        "object of columns",
    ),
    "an array cut off": (json.dumps(ROWS)[:-9], "breaks off after item 3"),
    "an array without its bracket": (json.dumps(ROWS)[:-1], "breaks off after item 4"),
    "a broken array": (
        json.dumps(ROWS, indent=0).replace('"r"', "r", 1),
        r"is broken in its first item \(line 4: Expecting value",
    ),
    "two arrays": (json.dumps(ROWS) * 2, "after item 4 .*more after the closing"),
    "a web page": ("\n<!DOCTYPE html>\n<html>a, b</html>", "a web page"),
    "XML": ("<?xml version='1.0'?><a/>", "XML"),
    "prose": ("Dear all,\nhello\nthis is it.\n", "text without records.*'Dear all"),
    "YAML": ("- prompt: a\n  response: b\n", "text without records"),
    "a workbook": (_archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel"),
    "an archive": (_archive("a.jsonl"), "a ZIP archive.*unpack"),
    "a tar archive": (_tar(), "a tar archive"),
    "SQLite": (_sqlite(), "an SQLite database"),
    "a pickle": (pickle.dumps(ROWS), "a pickle"),
    "an old pickle": (pickle.dumps(ROWS, protocol=2), "a pickle"),
    "an array of NumPy": (_numpy(np.save), "a NumPy array"),
    "arrays of NumPy": (_numpy(np.savez), "a NumPy archive"),
    "TFRecords": ((9).to_bytes(8, "little") + b"\1\2\3\4" + b"x" * 13, "TFRecords"),
    "lz4": (b"\x04\x22\x4d\x18" + b"x" * 9, "compressed by lz4"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "noise": (b"\x01" + bytes(range(256)) * 4, "a binary file of an unknown kind"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_whole_file_is_named(content, message, tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"(?s)file\.jsonl .*{message}") as caught:
        list(read_records(str(path)))
    assert "on_bad_record" not in str(caught.value)


def test_a_sentencepiece_model_is_named(sentencepiece_model):
    with pytest.raises(DataError, match="a SentencePiece model.*as the vocabulary"):
        list(read_records(sentencepiece_model))


def test_dropping_bad_records_does_not_drop_a_whole_file(register, tmp_path):
    task = register([b"[1]", b"[2]"], on_bad_record="drop")
    with pytest.raises(DataError, match="a JSON list on each line"):
        task.records("train")


ONE_RECORD = (
    {"messages": [{"role": "user", "content": "a"}], "label": True},
    {"prompt": "p", "responses": ["a", "b"], "rewards": [0, 1]},
    {"prefix": [["a"]], "suffix": ["b"], "reward": [1.0]},
    {"instruction": "a", "completions": [{"response": "b", "overall_score": 3}]},
)


@pytest.mark.parametrize("record", ONE_RECORD, ids=lambda record: next(iter(record)))
def test_one_record_with_lists_is_a_record(record, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record))
    assert [raw.fields for raw in read_records(str(path))] == [record]


@pytest.mark.parametrize(
    "first", [b"[1, 2]", b'[{"a": 1}]', b"hello, you", b"{", b"\0"]
)
def test_a_bad_first_line_is_a_bad_record(first, tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_bytes(first + b"\n" + LINES.encode())
    records = list(read_records(str(path)))
    assert [raw.fields for raw in records[1:]] == ROWS
    assert records[0].problem.reason in ("not_json", "not_object")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text(LINES)
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read from its beginning"):
        list(read_records(str(path)))
