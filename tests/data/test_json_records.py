"""Arrays are read item by item, whatever the places where chunks end."""

import json
import random

import pytest

from dro_jax.data import json_records
from dro_jax.data.containers import read_records
from dro_jax.data.records import RecordProblem
from dro_jax.errors import DataError


def _array(rows, rng):
    def space():
        return "".join(rng.choices(" \n\t", k=rng.randint(0, 3)))

    items = [space() + json.dumps(row, indent=rng.choice((None, 1))) for row in rows]
    return "[" + f"{space()},".join(items) + space() + "]" + space()


@pytest.mark.parametrize("chunk", [1, 2, 7, 40])
def test_chunks_may_end_anywhere(chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "_CHUNK", chunk)
    rng = random.Random(chunk)
    values = (1, -0.5, 1e30, True, None, "", 'é"\\n', "\ud83d", [1, [2]], {"a": {}})
    rows = [{f"f{i}": rng.choice(values) for i in range(3)} for _ in range(30)]
    rows.insert(5, None)  # no object, but no end of the array
    path = tmp_path / "array.json"
    path.write_text(_array(rows, rng))
    records = list(read_records(str(path)))
    assert [record.fields for record in records] == rows
    assert records[5].problem.message == "the item is no object: it begins 'null'"
    assert records[-1].identity == f"{path} item 31"


def test_bad_items_are_bad_records(tmp_path):
    path = tmp_path / "array.json"
    path.write_bytes(b'[{"a": 1, "a": 2}, {"a": "\xff"}, 3, {"a": 4}]')
    records = list(read_records(str(path)))
    assert [record.problem and record.problem.reason for record in records] == [
        "duplicate_field",
        "invalid_utf8",
        "not_object",
        None,
    ]
    assert records[3].fields == {"a": 4}


def test_a_broken_item_is_found_without_reading_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "_CHUNK", 64)
    path = tmp_path / "array.json"
    path.write_text('[\n{"a": 1},\n{"a": nothing},\n' + '{"a": 2},\n' * 100_000)
    read = []
    monkeypatch.setattr(
        json_records._Items,
        "_read_more",
        lambda self, more=json_records._Items._read_more: read.append(more(self)),
    )
    with pytest.raises(DataError, match=r"after item 1 \(line 3: Expecting value\)"):
        list(read_records(str(path)))
    assert len(read) < 10


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"question": "broken\n', "Unterminated string starting at, column 14"),
        (b'{"a": 1,}\n', "column 9"),
        (b'{"a": 1\n', "Expecting ',' delimiter, column 8"),
    ],
)
def test_why_a_line_is_not_json_has_one_line_number_and_no_line_end(line, why):
    with pytest.raises(RecordProblem) as error:
        json_records.parse_line(line)
    assert why in str(error.value) and "line 1" not in str(error.value)


def test_a_number_beyond_python_s_limit_is_named(tmp_path):
    path = tmp_path / "array.json"
    path.write_text('[{"a": ' + "9" * 10_000 + "}]")
    with pytest.raises(DataError, match="JSON array that is broken in its first item"):
        list(read_records(str(path)))
