"""Files are known by their content, whatever they are called."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from dro_jax.data.containers import read_records
from dro_jax.data.sources import JsonlSource
from dro_jax.errors import ConfigError, DataError

ROWS = [
    {"prompt": f"parcel {i}?", "response": 'On its\nway, "é".', "reward": i / 2}
    for i in range(3)
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def _csv(delimiter=",", newline="\r\n"):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, list(ROWS[0]), delimiter=delimiter, lineterminator=newline
    )
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def _arrow(make):
    table, sink = pyarrow.Table.from_pylist(ROWS), io.BytesIO()
    if make is pyarrow.parquet.write_table:
        make(table, sink)
    else:
        with make(sink, table.schema) as writer:
            writer.write(table)
    return sink.getvalue()


TYPED = {
    "JSONL": (LINES.encode(), "line 3"),
    "JSONL after a mark": (codecs.BOM_UTF8 + LINES.encode(), "line 3"),
    "line ends of old Macintoshes": (LINES.replace("\n", "\r").encode(), "line 3"),
    "UTF-16": (LINES.encode("utf-16"), "line 3"),
    "UTF-32": (LINES.encode("utf-32"), "line 3"),
    "an array on one line": (json.dumps(ROWS).encode(), "item 3"),
    "an array, indented": (json.dumps(ROWS, indent=2).encode(), "item 3"),
    "an array in UTF-16": (json.dumps(ROWS).encode("utf-16"), "item 3"),
    "an array with a comma at its end": (
        json.dumps(ROWS).replace("}]", "},\n]").encode(),
        "item 3",
    ),
    "Parquet": (_arrow(pyarrow.parquet.write_table), "row 3"),
    "an Arrow file": (_arrow(pyarrow.ipc.new_file), "row 3"),
    "an Arrow stream": (_arrow(pyarrow.ipc.new_stream), "row 3"),
}
TABLES = {
    "CSV": (_csv(), "line 6"),
    "CSV with newlines": (_csv(newline="\n"), "line 6"),
    "TSV": (_csv("\t"), "line 6"),
    "semicolons": (_csv(";"), "line 6"),
}
COMPRESSED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zst": lambda data: pyarrow.compress(data, "zstd", asbytes=True),
    "gz twice": lambda data: gzip.compress(gzip.compress(data)),
    "zst in two frames": lambda data: b"".join(
        pyarrow.compress(part, "zstd", asbytes=True) for part in (data[:9], data[9:])
    ),
}


@pytest.fixture
def read(tmp_path):
    """Reads bytes from a file whose name tells nothing; (path, records)."""

    def read(content, name="file.bin", **settings):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path), list(read_records(str(path), **settings))

    return read


@pytest.mark.parametrize(("content", "last"), TYPED.values(), ids=TYPED)
def test_containers_with_types(content, last, read):
    path, records = read(content)
    assert [record.fields for record in records] == ROWS
    assert records[-1].identity == f"{path} {last}"


@pytest.mark.parametrize(("content", "last"), TABLES.values(), ids=TABLES)
def test_tables_of_text(content, last, read):
    path, records = read(content)
    texts = [{name: str(value) for name, value in row.items()} for row in ROWS]
    assert [record.fields for record in records] == texts
    assert records[-1].identity == f"{path} {last}"


@pytest.mark.parametrize("compress", COMPRESSED.values(), ids=COMPRESSED)
@pytest.mark.parametrize("kind", ["JSONL", "an array on one line", "Parquet"])
def test_compression_is_told_by_the_first_bytes(kind, compress, read):
    _, records = read(compress(TYPED[kind][0]))
    assert [record.fields for record in records] == ROWS


@pytest.mark.parametrize("name", ["plain.jsonl.gz", "plain.parquet", "plain.csv"])
def test_a_wrong_name_misleads_nobody(name, read):
    _, records = read(LINES.encode(), name)
    assert [record.fields for record in records] == ROWS


@pytest.mark.parametrize("content", [b"", b"\n \n", codecs.BOM_UTF8, b"[]", b"[\n]\n"])
def test_nothing_is_no_record(content, read):
    assert read(content)[1] == []


def test_latin_1_is_named_and_read_by_its_option(read):
    with pytest.raises(
        DataError, match=r"file\.bin is text, but not in UTF-8.*latin-1"
    ):
        read(LINES.encode("latin-1"))
    with pytest.raises(DataError, match="not in UTF-8"):
        read(json.dumps(ROWS, ensure_ascii=False).encode("latin-1"))
    _, records = read(LINES.encode("latin-1"), encoding="latin-1")
    assert [record.fields for record in records] == ROWS


def test_utf_16_without_a_mark_is_named_and_read_by_its_option(read):
    content = LINES.encode("utf-16-be")
    with pytest.raises(DataError, match="byte order mark: set encoding = 'utf-16-be'"):
        read(content)
    _, records = read(content, encoding="utf-16-be")
    assert [record.fields for record in records] == ROWS


def test_a_wrong_encoding_is_named(read):
    with pytest.raises(DataError, match=r"file\.bin is not utf-16, near byte"):
        read(LINES.encode() + b"\x00\xd8", encoding="utf-16")
    with pytest.raises(ConfigError, match="encoding = 'latin-0' is unknown"):
        JsonlSource({"train": "x"}, encoding="latin-0")


def test_a_pipe_is_read_once(tmp_path):
    import os
    import threading

    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    content = gzip.compress(TYPED["Parquet"][0])

    def write():
        with open(path, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    records = list(read_records(path))
    writer.join()
    assert [record.fields for record in records] == ROWS


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_a_damaged_file_is_named_with_the_last_record_that_was_read(kind, read):
    lines = b"".join(b'{"n": %d}\n' % (n * 7919 % 99991) for n in range(80_000))
    whole = COMPRESSED[kind](lines)
    with pytest.raises(DataError, match=r"file\.bin cannot be read beyond line \d+"):
        read(whole[: len(whole) * 9 // 10])


@pytest.mark.parametrize("kind", ["Parquet", "an Arrow file", "an Arrow stream"])
def test_a_damaged_table_is_named(kind, read):
    with pytest.raises(DataError, match=r"file\.bin .*cannot be read.*damaged"):
        read(TYPED[kind][0][:-40])
