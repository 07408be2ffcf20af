"""Files in the shapes in which they are published: LAYOUT alone makes them a task."""

import pytest
from published_files import PUBLISHED, PUBLISHED_TREES, TREE, A, U, message
from split_texts import prompts_of, responses_of

from dro_jax.data.layouts import LAYOUTS, find_layout, settings_of
from dro_jax.data.several_responses import jsonl_source
from dro_jax.errors import ConfigError, DataError


@pytest.fixture
def load(write_jsonl, register_source):
    def load(rows, layout, **settings):
        source = jsonl_source({"train": write_jsonl(rows)}, layout)
        task = register_source(source, **settings_of(layout, settings))
        loaded = task.records("train")
        texts = zip(
            prompts_of(loaded), responses_of(loaded), loaded.rewards, strict=True
        )
        return list(texts), loaded.report

    return load


@pytest.mark.parametrize("layout", PUBLISHED)
def test_the_layout_is_all_that_need_be_set(load, layout):
    rows, trajectories = PUBLISHED[layout]
    found, report = load(rows, layout)
    assert found == trajectories
    assert report.reasons() == ({"no_reply": 1} if layout == "hh_rlhf" else {})


@pytest.mark.parametrize("kind", PUBLISHED_TREES)
def test_every_labelled_reply_of_a_tree_is_a_trajectory(load, kind):
    rows, trajectories = PUBLISHED_TREES[kind]
    found, report = load(rows, "oasst2")
    assert found == trajectories
    assert report.reasons() == {"missing_field": 1, "deleted": 1}
    (unrated,) = (r for r in report.dropped if r.reason == "missing_field")
    assert "(message_id m6)" in unrated.identity
    assert unrated.message.startswith("field 'labels.quality' is missing")


def test_another_label_may_be_the_reward(load):
    found, _ = load(TREE, "oasst2", reward_field="helpfulness")
    assert [reward for _, _, reward in found] == [0.375, 0.125]
    rows, _ = PUBLISHED["helpsteer2"]
    found, _ = load(rows, "helpsteer2", reward_field="verbosity")
    assert [reward for _, _, reward in found] == [1.0, 1.0]
    rows, _ = PUBLISHED["ultrafeedback"]
    found, _ = load(rows, "ultrafeedback", reward_field="fine-grained_score")
    assert [reward for _, _, reward in found] == [4.25, 1.5]


def test_an_aspect_of_ultrafeedback_may_be_the_reward(load):
    (row,), _ = PUBLISHED["ultrafeedback"]
    first, second = row["completions"]
    second = {**second, "annotations": {"honesty": [{"Rating": "2.5"}]}}
    rows = [{**row, "completions": [first, second]}]
    rows.append(_rated({"honesty": {"Rating": "N/A"}, "helpfulness": {}}))
    found, report = load(rows, "ultrafeedback", reward_field="honesty")
    assert [reward for _, _, reward in found] == [4.0, 2.5]
    (dropped,) = report.dropped
    assert "(field 'completions[0].annotations.honesty.Rating')" in dropped.message
    assert "'N/A', not a number" in dropped.message
    found, report = load(rows, "ultrafeedback", reward_field="helpfulness")
    assert [reward for _, _, reward in found] == [4.0]
    assert report.reasons() == {"missing_field": 2}


def _rated(annotations):
    one = {"response": "r", "overall_score": 1.0, "annotations": annotations}
    return {"instruction": "a", "completions": [one]}


@pytest.mark.parametrize(
    ("layout", "rows", "message"),
    [
        (
            "ultrafeedback",
            [{"instruction": "a", "completions": [{"response": "r"}]}],
            r"line 1 completion 1: field 'overall_score' is missing; the record has "
            + r"'completions', 'completions\[0\].response', 'instruction'",
        ),
        ("ultrafeedback", [{"instruction": "a"}], "field 'completions' is missing"),
        ("oasst2", [{"prompt": "a"}], "neither a tree, .*, nor a message"),
        ("oasst2", [{**TREE[0], "message_id": ["m1"]}], "neither a tree"),
        (
            "oasst2",
            [{**TREE[1], "parent_id": {}, "labels": [None, {"name": [], "value": 1}]}],
            "is not in the file",
        ),
        ("oasst2", [message(2, 1, "assistant", "r")], "'parent_id' 'm1' is not in"),
        (
            "kto_mix",
            [{"prompt": [U("a")], "completion": [A("r")], "label": 0.5}],
            r"the reward \(field 'label'\) 0.5 is no known thumb",
        ),
    ],
)
def test_what_is_of_another_shape_is_named(load, layout, rows, message):
    with pytest.raises(DataError, match=message):
        load(rows, layout, on_bad_record="error")


def test_layouts_are_found_by_their_names():
    assert find_layout("HH-RLHF") is LAYOUTS["hh_rlhf"]
    with pytest.raises(ConfigError, match=r"'helpstear2' is unknown \(did you mean 'h"):
        find_layout("helpstear2")
    for layout in LAYOUTS.values():
        assert layout.about
    assert (
        settings_of("messages", {"prompt_field": "conversations"})["response_field"]
        == "conversations"
    )
