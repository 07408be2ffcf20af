"""Tables of text: cells stay texts, and are numbers where one is asked for."""

import numpy as np
import pytest
from split_texts import prompts_of, responses_of

from dro_jax.data.containers import read_records
from dro_jax.data.sources import JsonlSource
from dro_jax.errors import DataError


@pytest.fixture
def table(tmp_path):
    """The path of a table with that text."""

    def write(text, name="table.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def load(table, register_source):
    """Loads a task from a table."""

    def load(text, **settings):
        source = JsonlSource({"train": table(text)})
        task = register_source(source, **settings)
        return task.records("train")

    return load


def test_a_prompt_may_look_like_a_number_and_a_reward_is_one(load):
    loaded = load('prompt,response,reward\n007,1e3,0.5\n42,"a, b", -2 \n')
    assert prompts_of(loaded) == ["007", "42"]
    assert responses_of(loaded) == ["1e3", "a, b"]
    np.testing.assert_array_equal(loaded.rewards, [0.5, -2.0])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "reward_missing"),
        ("  ", "reward_missing"),
        ("high", "reward_not_numeric"),
        ("nan", "reward_not_finite"),
        ("1e400", "reward_not_finite"),
        ("True", "reward_not_numeric"),
    ],
)
def test_a_cell_that_is_no_number_makes_a_bad_record(cell, reason, load):
    loaded = load(f"prompt,response,reward\na,b,{cell}\na,b,1\n", on_bad_record="drop")
    (dropped,) = loaded.report.dropped
    assert dropped.reason == reason
    assert dropped.identity.endswith("table.txt line 2")


def test_thumbs_and_marks_are_read_from_cells(load):
    text = "prompt,response,reward\na,b,True\na,b,-1.0\na,b,👍\na,b,1\n"
    rewards = load(text, reward_kind="thumbs").rewards
    np.testing.assert_array_equal(rewards, [1, -1, 1, 1])
    marks = load(
        "prompt,response,reward\na,b,5\na,b,2.0\n",
        reward_kind="likert",
        likert_range=(1, 5),
    )
    np.testing.assert_array_equal(marks.rewards, [1, -0.5])


def test_lines_are_counted_over_cells_of_several_lines_and_blank_rows(table):
    path = table('a,b\n"1\n2\n",x\n\n\n3,y\n4,\n')
    records = list(read_records(path))
    assert [record.identity.rpartition(" ")[2] for record in records] == ["2", "7", "8"]
    assert [record.fields for record in records] == [
        {"a": "1\n2\n", "b": "x"},
        {"a": "3", "b": "y"},
        {"a": "4", "b": ""},
    ]


def test_an_index_without_a_name_is_passed_over(table):
    (record,) = read_records(table(",prompt,reward\n0,a,1\n"))
    assert record.fields == {"prompt": "a", "reward": "1"}


def test_rows_of_another_number_of_cells_are_bad_records(table):
    records = list(read_records(table("a,b\n1,2\n1,2,3\n1,2\n4\n1,2\n")))
    problems = [record.problem and record.problem.message for record in records]
    assert problems == [
        None,
        "the row has 3 cells, but the first row 2",
        None,
        "the row has 1 cells, but the first row 2",
        None,
    ]


def test_a_row_that_is_not_utf8_is_a_bad_record(table):
    records = list(read_records(table(b"a,b\n1,\xc3\xa9\n2,\xff\n")))
    assert [record.problem and record.problem.reason for record in records] == [
        None,
        "invalid_utf8",
    ]


def test_cells_longer_than_python_s_limit_are_read(table):
    text = "x" * 500_000
    (record,) = read_records(table(f"a,b\n{text},1\n"))
    assert record.fields["a"] == text


def test_a_table_of_one_column_is_known_by_its_name(table):
    (record,) = read_records(table("prompt\nhello\n", "prompts.csv.old"))
    assert record.fields == {"prompt": "hello"}
    with pytest.raises(DataError, match="text without records"):
        list(read_records(table("prompt\nhello\n", "prompts.txt")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,"never\nclosed\n2,3\n', "from line 2 .*unexpected end of data"),
        ("a,b,a\n1,2,3\n", "more than one column 'a'"),
    ],
)
def test_a_table_that_is_broken_as_a_whole_is_named(text, message, table):
    with pytest.raises(DataError, match=message):
        list(read_records(table(text)))


def test_a_table_may_have_no_row_of_names(table):
    text = 'a,x\t"b" and\tc "d"\n\ne\tf\n"g\th\ti\nj\tk\tl\n'
    path = table(text)
    first, second, third = read_records(path, columns=("head", "relation", "tail"))
    assert first.fields == {"head": "a,x", "relation": "b and", "tail": 'c "d"'}
    assert second.identity == f"{path} line 3"
    assert second.problem.message == "the row has 2 cells, but rows of this table have 3"
    # Else the rest of the file would be one cell, in silence.
    assert third.problem.reason == "wrong_cells"
    (last,) = read_records(table('a\tb\t"c\nd\te\tf\n'), columns=("x", "y", "z"))
    assert last.problem.reason == "open_quote"
    with pytest.raises(DataError, match=r"no table of 2 columns .*\(x, y\)"):
        list(read_records(path, columns=("x", "y")))


def test_columns_tell_prepared_records_from_others(table):
    path = table("a\tb\n")
    first, second = (
        JsonlSource({"train": path}, columns=names).parts("train").contents
        for names in (("x", "y"), ("y", "x"))
    )
    assert first != second
