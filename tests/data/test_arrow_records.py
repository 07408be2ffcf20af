"""Values of Parquet and Arrow become what JSON would hold."""

import datetime
import decimal

import pyarrow
import pyarrow.parquet
import pytest

from dro_jax.data.containers import read_records
from dro_jax.errors import DataError

MESSAGES = [{"role": "user", "content": "hi"}]
COLUMNS = {
    "text": (["a"], "a"),
    "dictionary": (pyarrow.array(["a"]).dictionary_encode(), "a"),
    "missing": ([None], None),
    "nan": ([float("nan")], None),
    "whole": (pyarrow.array([3], pyarrow.int8()), 3),
    "half": (pyarrow.array([0.5], pyarrow.float32()), 0.5),
    "truth": ([True], True),
    "bytes": ([b"\xc3\xa9"], "é"),
    "messages": ([MESSAGES], MESSAGES),
    "nested nan": ([{"scores": [1.0, float("nan")]}], {"scores": [1.0, None]}),
    "decimal": ([decimal.Decimal("1.50")], 1.5),
    "day": ([datetime.date(2026, 1, 2)], "2026-01-02"),
    "time": ([datetime.datetime(2026, 1, 2, 3)], "2026-01-02T03:00:00"),
    "nanoseconds": (
        pyarrow.array([1_000_000_001], pyarrow.timestamp("ns")),
        "1970-01-01T00:00:01",
    ),
    "span": ([datetime.timedelta(minutes=1)], 60.0),
}


def test_values_are_plain(tmp_path):
    path = tmp_path / "values"
    columns = {name: column for name, (column, _) in COLUMNS.items()}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    (record,) = read_records(str(path))
    assert record.identity == f"{path} row 1"
    assert record.fields == {name: value for name, (_, value) in COLUMNS.items()}


def test_bytes_that_are_no_text_make_a_bad_record(tmp_path):
    path = tmp_path / "values"
    pyarrow.parquet.write_table(pyarrow.table({"a": [b"\xff", b"x"]}), path)
    bad, good = read_records(str(path))
    assert bad.problem.reason == "invalid_utf8"
    assert good.fields == {"a": "x"}


def test_rows_are_counted_over_groups(tmp_path):
    path = tmp_path / "values"
    table = pyarrow.table({"n": list(range(2500))})
    pyarrow.parquet.write_table(table, path, row_group_size=700)
    records = list(read_records(str(path)))
    assert [record.fields["n"] for record in records] == list(range(2500))
    assert records[-1].identity == f"{path} row 2500"


def test_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "values.arrow"
    table = pyarrow.table([[1], [2]], names=["a", "a"])
    with pyarrow.ipc.new_file(path, table.schema) as writer:
        writer.write(table)
    with pytest.raises(DataError, match="more than one column 'a'"):
        list(read_records(str(path)))
