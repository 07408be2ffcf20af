import csv
import io
import json

import pytest
from sheets_to_judge import contests, key

from dro_jax.errors import DataError
from dro_jax.judges import sheet_answers
from dro_jax.judges.blinding import Contest, blinded
from dro_jax.judges.interface import Pair
from dro_jax.judges.sheet_answers import Problem, read_sheets
from dro_jax.judges.sheets import COLUMNS, LONGEST_CELL, page, table, too_long

OWN = key()


def rows(own=OWN):
    return list(csv.reader(io.StringIO(table(own), newline="")))


def filled(path, answers, change=lambda rows: rows, own=OWN, **dialect):
    """A sheet with answers by place, as a spreadsheet saves it."""
    head, *body = rows(own)
    body = [[*row[:-1], a] for row, a in zip(body, answers, strict=True)]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, **dialect).writerows(change([head, *body]))
    return path


def test_no_cell_of_a_sheet_begins_a_formula_and_no_run_is_named():
    head, *body = rows()
    assert tuple(head) == COLUMNS and len(body) == 8
    cells = [cell for row in body for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    for text in (table(OWN), page(OWN)):
        assert "dro_v" not in text and "nll" not in text


def test_a_text_of_any_kind_is_in_the_page_once_and_as_data():
    text = page(OWN)
    assert text.count("</script>") == 2 and "onerror" in text and "<img" not in text
    assert "{{" not in text.replace("{{SCRIPT}} {{DATA}}", "")


def test_texts_that_spreadsheets_cut_are_found():
    long = Contest("a", "b", "1", Pair("p", "x" * (LONGEST_CELL + 1), "y"))
    own = blinded([long, *contests(2)], 0)
    assert [pair.contest for pair in too_long(own)] == [long]


@pytest.mark.parametrize("dialect", [{}, {"delimiter": ";"}, {"delimiter": "\t"}])
def test_a_table_is_read_back_however_it_was_saved(dialect, tmp_path):
    def as_spreadsheets_do(all_rows):
        # Line ends of its own, and the apostrophe dropped.
        return [[c.replace("\r\n", "\n").lstrip("'") for c in row] for row in all_rows]

    answers = ["1", "2", "0", " 1 ", "2.0", "0", "1", "2"]
    path = filled(tmp_path / "ann.csv", answers, as_spreadsheets_do, **dialect)
    found = read_sheets([path], OWN)
    assert found.problems == ()
    expected = [1, 2, 0, 1, 2, 0, 1, 2]
    assert found.answers == {
        "ann": {p.id: x for p, x in zip(OWN.shown, expected, strict=True)}
    }
    for pair, answer in zip(OWN.shown, expected, strict=True):
        assert found.of_pair(pair) == [pair.preference(answer)]


def test_what_does_not_count_is_left_out_and_named(tmp_path):
    ids = [pair.id for pair in OWN.shown]

    def spoil(all_rows):
        head, *body = all_rows
        body[1][3] += " indeed"
        again = [*body[2][:-1], "1"]
        return [head, *body, again, ["0123456789", "p", "a", "b", "1"], [""] * 5]

    path = filled(tmp_path / "ann.csv", ["1", "2", "0", "3", "A", "", "1", "2"], spoil)
    found = read_sheets([path], OWN)
    assert found.answers == {"ann": {ids[0]: 1, ids[6]: 1, ids[7]: 2}}
    assert found.problems == (
        Problem(sheet_answers.EDITED, f"{path} row 3", ids[1]),
        Problem(sheet_answers.OUT_OF_RANGE, f"{path} row 5", ids[3]),
        Problem(sheet_answers.OUT_OF_RANGE, f"{path} row 6", ids[4]),
        Problem(sheet_answers.UNKNOWN, f"{path} row 11", "0123456789"),
        Problem(sheet_answers.CONTRADICTORY, f"{path} row 10", ids[2]),
        Problem(sheet_answers.MISSING, "ann", ids[5]),
    )
    assert sheet_answers.summary(found.problems)[1] == (
        f"2 with an answer other than 1, 2 and 0: {ids[3]} ({path} row 5), "
        f"{ids[4]} ({path} row 6)"
    )


def saved(path, answers, rater="Ann", **more):
    content = {
        "kind": "dro-jax judge answers",
        "version": 1,
        "sheet": OWN.sheet,
        "rater": rater,
        "answers": answers,
    }
    path.write_text(json.dumps(content | more))
    return path


def test_a_rater_may_have_several_files_and_nameless_ones_are_several(tmp_path):
    ids = [pair.id for pair in OWN.shown]
    (tmp_path / "b").mkdir()
    found = read_sheets(
        [
            saved(tmp_path / "1.json", {ids[0]: 1, ids[1]: True}),
            saved(tmp_path / "2.json", {ids[0]: 1, ids[2]: 0}),
            filled(tmp_path / "sheet.csv", ["2"] * 8),
            filled(tmp_path / "b/sheet.csv", ["0"] * 8),
        ],
        OWN,
    )
    assert found.answers["Ann"] == {ids[0]: 1, ids[2]: 0}
    assert len(found.answers) == 3
    one = OWN.shown[0]
    assert found.of_pair(one) == [one.preference(x) for x in (1, 2, 0)]
    assert found.problems[0] == Problem(
        sheet_answers.OUT_OF_RANGE, f"{tmp_path}/1.json", ids[1]
    )
    assert {p.kind for p in found.problems[1:]} == {sheet_answers.MISSING}


def test_files_that_are_no_answers_to_this_sheet_are_refused(tmp_path):
    other = blinded(contests(3), seed=9)
    table_of_other = filled(tmp_path / "other.csv", ["1"] * 3, own=other)
    page_of_other = saved(tmp_path / "other.json", {}, sheet=other.sheet)
    (tmp_path / "latin.csv").write_bytes("pair,prompt\nx,é".encode("latin-1"))
    (tmp_path / "columns.csv").write_text("pair,answer\n")
    (tmp_path / "open.csv").write_text(",".join(COLUMNS) + '\nx,"never closed')
    (tmp_path / "torn.json").write_text('{"kind": ')
    for path, message in (
        (table_of_other, "other.csv is of another sheet"),
        (page_of_other, f"is of sheet {other.sheet}, and the key of sheet {OWN.sheet}"),
        (tmp_path / "latin.csv", "not UTF-8"),
        (tmp_path / "columns.csv", "no column prompt, response_1, response_2"),
        (tmp_path / "open.csv", "of another sheet"),
        (tmp_path / "torn.json", "holds no answers"),
        (tmp_path / "nowhere.csv", "cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            read_sheets([path], OWN)
    good = filled(tmp_path / "good.csv", ["1"] * 8)
    with pytest.raises(DataError, match="given twice"):
        read_sheets([good, good], OWN)


def test_a_contradiction_stays_one_whatever_the_raters_next_file_says(tmp_path):
    own = key()
    paths = []
    for number, answer in enumerate((1, 2, 7)):
        paths.append(tmp_path / f"{number}.json")
        content = {"kind": "dro-jax judge answers", "sheet": own.sheet, "rater": "ann"}
        content["answers"] = {own.shown[0].id: answer, own.shown[1].id: 1}
        paths[-1].write_text(json.dumps(content))
    found = read_sheets(paths, own)
    assert found.answers["ann"] == {own.shown[1].id: 1}
