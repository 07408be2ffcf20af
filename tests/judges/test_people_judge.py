import json

import pytest
from sheets_to_judge import key

from dro_jax.errors import ConfigError
from dro_jax.judges.interface import Pair
from dro_jax.judges.people_judge import PeopleJudge


@pytest.fixture
def files(tmp_path):
    own = key()
    own.write(tmp_path / "key.json")
    paths = []
    for rater, answers in {"ann": [1, 1, 0], "bob": [1, 2]}.items():
        said = {p.id: x for p, x in zip(own.shown, answers, strict=False)}
        content = {"kind": "dro-jax judge answers", "sheet": own.sheet, "answers": said}
        paths.append(tmp_path / f"{rater}.json")
        paths[-1].write_text(json.dumps(content))
    return own, str(tmp_path / "key.json"), [str(path) for path in paths]


def test_people_answer_what_they_saw_whichever_comes_first(files):
    own, path, sheets = files
    judge = PeopleJudge(path, sheets)
    pairs = [pair.contest.pair for pair in own.shown]
    verdicts = judge([*pairs, Pair("new", "a", "b"), Pair("new", "same", "same")])
    won = own.shown[0].preference(1)
    assert verdicts.preferences[:3].tolist() == [won, 0.5, 0.5]
    assert verdicts.answered.tolist() == [True] * 3 + [False] * 6 + [True]
    turned = judge([Pair(p.prompt, p.second, p.first) for p in pairs])
    assert (turned.preferences == 1 - verdicts.preferences[:8]).all()


def test_what_does_not_count_is_told(files, tmp_path, capsys):
    own, path, _ = files
    said = {own.shown[0].id: 7} | {pair.id: 1 for pair in own.shown[1:]}
    content = {"kind": "dro-jax judge answers", "sheet": own.sheet, "answers": said}
    (tmp_path / "eve.json").write_text(json.dumps(content))
    PeopleJudge(path, str(tmp_path / "eve.json"))
    told = capsys.readouterr().err
    assert "judge people: 1 with an answer other than 1, 2 and 0" in told
    assert own.shown[0].id in told


def test_the_fingerprint_is_of_what_was_said(files):
    _, path, (ann, bob) = files
    both = PeopleJudge(path, [ann, bob])
    assert both.fingerprint == PeopleJudge(path, [bob, ann]).fingerprint
    assert both.fingerprint != PeopleJudge(path, ann).fingerprint


def test_no_sheet_is_refused(files):
    with pytest.raises(ConfigError, match="JUDGE_SHEETS names no sheet"):
        PeopleJudge(files[1], [])
