"""Parts of files read by themselves are the whole, in order and by their names."""

import gzip
import json

import pytest
from split_texts import identities_of, prompts_of, responses_of

from dro_jax.data.sources import JsonlSource
from dro_jax.data.store import file_facts

BOM = b"\xef\xbb\xbf"


def _lines(count):
    return [
        json.dumps(
            {
                "prompt": f"prompt {i} é — 語",
                "response": "r" * (1 + i % 9),
                "reward": i,
            },
            ensure_ascii=bool(i % 2),
        ).encode()
        for i in range(count)
    ]


FILES = {
    "plain": b"\n".join(_lines(20)) + b"\n",
    "no newline at the end": b"\n".join(_lines(20)),
    "CRLF": b"\r\n".join(_lines(20)) + b"\r\n",
    "empty lines": b"\n\n".join(_lines(20)) + b"\n\n\n",
    "blank last line": b"\n".join(_lines(20)) + b"\n  ",
    "byte order mark": BOM + b"\n".join(_lines(20)),
    "bad lines": b"\n".join(
        line if i % 4 else b"?" * 30 for i, line in enumerate(_lines(20), start=1)
    ),
    "one long line": b"\n".join([*_lines(3), _lines(1)[0] + b" " * 500, *_lines(5)]),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_units_end_to_end_are_the_file(content, tmp_path, monkeypatch, register_source):
    path = tmp_path / "logs.jsonl"
    path.write_bytes(content)
    whole = register_source(JsonlSource({"train": path}), on_bad_record="drop")
    expected = whole.records("train")
    monkeypatch.setattr(file_facts, "UNIT_BYTES", 64)
    task = register_source(JsonlSource({"train": path}), on_bad_record="drop")
    units = task.recipe.source.parts("train").units
    assert len(units) > 3
    assert [unit.number for unit in units] == list(range(len(units)))
    assert all(len(content[unit.start : unit.end]) >= 64 for unit in units[:-1])
    assert b"".join(content[unit.start : unit.end] for unit in units) == content
    records = task.records("train")
    assert records.folder != expected.folder
    assert identities_of(records) == identities_of(expected)
    assert prompts_of(records) == prompts_of(expected)
    assert responses_of(records) == responses_of(expected)
    for name in ("rewards", "indices", "lengths", "prompt_hashes"):
        assert getattr(records, name).tolist() == getattr(expected, name).tolist()
    assert records.report == expected.report


def test_other_files_are_one_unit_each(tmp_path, small_units):
    lines = _lines(20)
    array = b"[" + b",\n".join(lines) + b"]"
    table = b"prompt,response,reward\n" + b"a,b,1\n" * 30
    contents = {
        "array.json": array,
        "table.csv": table,
        "packed.gz": gzip.compress(b"\n".join(lines)),
        "utf16.jsonl": b"\n".join(lines).decode().encode("utf-16"),
        "old_mac.jsonl": b"\r".join(_lines(20)),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in contents]
    units = JsonlSource({"train": paths}).parts("train").units
    assert [unit.path for unit in units] == list(map(str, paths))
    assert [unit.number for unit in units] == list(range(len(paths)))
    assert {unit.start for unit in units} == {None}


def test_a_layout_passes_units_on(tmp_path, small_units, register_source):
    from dro_jax.data.several_responses import jsonl_source

    rows = [
        {"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"}
        for i in range(12)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = register_source(jsonl_source({"train": path}, "pairs"))
    assert len(task.recipe.source.parts("train").units) > 3
    records = task.records("train")
    assert records.indices.tolist() == list(range(24))
    assert records.identity(23).startswith(f"{path} line 12 ")
    assert responses_of(records)[:2] == ["good 0", "bad 0"]


def test_a_template_is_compared_with_the_first_record_alone(
    tmp_path, small_units, register_source
):
    # The first file is empty, and only later units lack the field.
    (tmp_path / "a.jsonl").write_bytes(b"")
    rows = [{"prompt": "p", "response": "r" * 40, "reward": 1, "topic": "t"}] * 2
    rows += [{"prompt": "p", "response": "r" * 60, "reward": 1}] * 3
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "b.jsonl").write_text(text)
    task = register_source(
        JsonlSource({"train": [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]}),
        prompt_template="{topic}: {prompt}",
        on_bad_record="drop",
    )
    report = task.records("train").report
    assert (report.num_read, report.num_kept) == (5, 2)
    assert report.reasons() == {"missing_field": 3}
