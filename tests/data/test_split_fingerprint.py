"""Each thing that log-probabilities depend on changes its own part of the fingerprint."""

import itertools
import shutil

import pytest
import seqio

from dro_jax.data.split_fingerprint import split_fingerprint

LENGTHS = {"inputs": 8, "targets": 4}
_numbers = itertools.count()


@pytest.fixture
def look(register, trajectories, write_jsonl):
    """The fingerprint of a task of one name, registered with some settings."""

    def look(records=None, *, split="train", lengths=LENGTHS, **settings):
        made = {s: records or trajectories(4) for s in ("train", "validation")}
        task = register(made, name=f"looked_at_{next(_numbers)}", **settings)
        found = split_fingerprint([task], split, lengths)
        return {name: value for name, value in found.items() if name != "task"}

    return look


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({}, set()),
        ({"reward_transform": "normalize"}, set()),
        ({"split": "validation"}, {"split"}),
        ({"lengths": {"inputs": 8, "targets": 5}}, {"task feature lengths"}),
        ({"vocabulary": seqio.ByteVocabulary(extra_ids=3)}, {"tokeniser"}),
        ({"prompt_template": "ask: {prompt}"}, {"templates", "records"}),
        ({"response_template": "{response}."}, {"templates", "records"}),
        ({"prompt_truncation": "right"}, {"truncation"}),
        ({"response_truncation": "left"}, {"truncation"}),
    ],
)
def test_a_setting_changes_its_own_part(look, settings, changed):
    before, after = look(), look(**settings)
    assert {name for name in before if before[name] != after[name]} == changed


def test_texts_and_their_borders_count_and_rewards_do_not(look):
    def record(prompt, response, reward=0.5):
        return {"prompt": prompt, "response": response, "reward": reward}

    base = look([record("ab", "cd"), record("x", "y")])
    assert look([record("ab", "cd", 1.0), record("x", "y")]) == base
    for other in (
        [record("ab", "ce"), record("x", "y")],
        [record("a", "cd"), record("bx", "y")],
        [record("x", "y"), record("ab", "cd")],
    ):
        assert look(other)["records"] != base["records"]


def test_ids_count_where_a_dropped_record_goes_away(look):
    good = [{"prompt": "a", "response": "b", "reward": 1.0} for _ in range(2)]
    bad = {"prompt": "a", "response": "", "reward": 1.0}
    settings = {"on_bad_record": "drop"}
    before = look([bad, *good], **settings)
    assert look(good, **settings)["records"] != before["records"]


def test_a_vocabulary_counts_by_its_contents(look, sentencepiece_model, tmp_path):
    copy = shutil.copy(sentencepiece_model, tmp_path / "elsewhere.model")
    base = look(vocabulary=sentencepiece_model)
    assert look(vocabulary=copy) == base
    assert look(vocabulary=copy, extra_ids=10)["tokeniser"] != base["tokeniser"]


def test_tasks_are_named(register, trajectories):
    tasks = [
        register(trajectories(2), name=name) for name in ("named_one", "named_two")
    ]
    found = split_fingerprint(tasks, "train", LENGTHS)
    assert found["task"] == "named_one, named_two"
