import dataclasses

import pytest
from sheets_to_judge import contests, key

from dro_jax.errors import DataError
from dro_jax.judges.blinding import Contest, Key, blinded
from dro_jax.judges.interface import Pair


def test_half_of_two_runs_pairs_are_swapped_in_an_order_of_chance():
    many = [*contests(40), *contests(31, ("dro_v", "kto")), *contests(1, ("a", "b"))]
    own = blinded(many, seed=3)
    for runs, count in ((("dro_v", "nll"), 40), (("dro_v", "kto"), 31)):
        swapped = [p.swapped for p in own.pairs if p.contest[:2] == runs]
        assert len(swapped) == count and abs(2 * sum(swapped) - count) <= 1
    assert [p.contest for p in own.pairs] != many
    assert sorted(p.contest for p in own.pairs) == sorted(many)
    assert len({p.id for p in own.pairs}) == len(many)


def test_a_seed_gives_one_sheet_and_another_another():
    assert key(seed=1) == key(seed=1)
    assert key(seed=1).sheet != key(seed=2).sheet
    sides = {blinded(contests(1), seed).pairs[0].swapped for seed in range(20)}
    assert sides == {True, False}


def test_answers_become_preferences_for_the_first_run():
    (plain,) = blinded(contests(1), 0).pairs
    for swapped, expected in ((False, [0.5, 1, 0]), (True, [0.5, 0, 1])):
        pair = dataclasses.replace(plain, swapped=swapped)
        assert [pair.preference(answer) for answer in (0, 1, 2)] == expected
        prompt, first, second = pair.contest.pair
        shown = (prompt, second, first) if swapped else (prompt, first, second)
        assert tuple(pair.as_shown) == shown


def test_equal_responses_are_not_shown():
    own = blinded([Contest("a", "b", "1", Pair("p", "x", "x")), *contests(2)], 0)
    assert len(own.shown) == 2
    assert [p.contest.prompt_id for p in own.pairs if not p.shown] == ["1"]


def test_a_key_is_read_back(tmp_path):
    own = blinded(
        [*contests(), Contest("a", "b", "\ud800", Pair("\udc00", "x", "x"))], 5
    )
    own.write(tmp_path / "key.json")
    assert Key.read(tmp_path / "key.json") == own


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "x"}', "{"])
def test_what_is_no_key_is_refused(text, tmp_path):
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(DataError, match="key.json is no key of a sheet"):
        Key.read(path)
