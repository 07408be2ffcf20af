"""Files in the shapes in which they are published: LAYOUT alone makes them a task."""

import pytest

from dro_jax.data.layouts import LAYOUTS, find_layout
from dro_jax.data.several_responses import jsonl_source
from dro_jax.errors import ConfigError, DataError
from tasks.jsonl import settings_of


def U(text):
    return {"content": text, "role": "user"}


def A(text):
    return {"content": text, "role": "assistant"}


def asked(text):
    return f"Human: {text}\n\nAssistant:"


def completion(text, score):
    rating = {"Rating": "4", "Rationale": "It is polite."}
    return {
        "annotations": {
            "helpfulness": {**rating, "Rationale For Rating": "…", "Type": ["1"]},
            "honesty": rating,
        },
        "critique": "Say when it will be there.",
        "custom_system_prompt": "You help.",
        "fine-grained_score": score / 2,
        "model": "made-up-7b",
        "overall_score": score,
        "principle": "helpfulness",
        "response": text,
    }


def message(number, parent, role, text, **changes):
    return {
        "message_id": f"m{number}",
        "parent_id": None if parent is None else f"m{parent}",
        "user_id": "u",
        "created_date": "2023-02-05T14:23:50.983374+00:00",
        "text": text,
        "role": role,
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": 0,
        "synthetic": False,
        "model_name": None,
        "detoxify": {"toxicity": 0.01},
        "message_tree_id": "m1",
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [1]},
        **changes,
    }


def labels(quality):
    return {
        "spam": {"value": 0.0, "count": 3},
        "quality": {"value": quality, "count": 3},
        "helpfulness": {"value": quality / 2, "count": 3},
    }


def label_columns(quality):
    """The same as the columns that Parquet files have."""
    return {"name": ["spam", "quality"], "value": [0.0, quality], "count": [3, 3]}


TREE = [
    message(1, None, "prompter", "Where is it?", labels=labels(0.9)),
    message(2, 1, "assistant", "On its way.", labels=labels(0.75)),
    message(3, 2, "prompter", "Since when?", labels=labels(0.5)),
    message(4, 3, "assistant", "Since noon.", labels=label_columns(0.5)),
    message(5, 1, "assistant", "Dunno.", labels=labels(0.25)),
    message(6, 1, "assistant", "Unrated.", labels=None),
    message(7, 1, "assistant", "Gone.", labels=labels(0.0), deleted=True),
]
REPLIES = [
    (asked("Where is it?"), "On its way.", 0.75),
    (
        "Human: Where is it?\n\nAssistant: On its way.\n\n" + asked("Since when?"),
        "Since noon.",
        0.5,
    ),
    (asked("Where is it?"), "Dunno.", 0.25),
]


def nested(number):
    replies = [m["message_id"] for m in TREE if m["parent_id"] == f"m{number}"]
    return {
        **TREE[number - 1],
        "replies": [nested(int(reply.removeprefix("m"))) for reply in replies],
    }


PUBLISHED = {
    "trl_unpaired": (
        [
            {"prompt": "The sky is", "completion": " blue.", "label": True},
            {"prompt": [U("The sky?")], "completion": [A("Green.")], "label": False},
        ],
        [("The sky is", " blue.", 1.0), (asked("The sky?"), "Green.", -1.0)],
    ),
    "trl_paired": (
        [
            {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
            {"chosen": "The sky is blue.", "rejected": "The sky is green."},
            {"prompt": [U("Sky?")], "chosen": [A("Blue.")], "rejected": [A("Green.")]},
            {"chosen": [U("Sky?"), A("Blue.")], "rejected": [U("Sky?"), A("Green.")]},
        ],
        [("The sky is", " blue.", 1.0), ("The sky is", " green.", 0.0)] * 2
        + [(asked("Sky?"), "Blue.", 1.0), (asked("Sky?"), "Green.", 0.0)] * 2,
    ),
    "hh_rlhf": (
        [
            {
                "chosen": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Sky?\n\nAssistant: Blue.",
                "rejected": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Sky?\n\nAssistant: Hm.",
            },
            {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes?", "rejected": "\n\nHuman: Hi"},
        ],
        [
            ("Human: Hi\n\nAssistant: Yes?\n\n" + asked("Sky?"), "Blue.", 1.0),
            ("Human: Hi\n\nAssistant: Yes?\n\n" + asked("Sky?"), "Hm.", 0.0),
        ],
    ),
    "ultrafeedback": (
        [
            {
                "source": "made_up",
                "instruction": "Where is it?",
                "models": ["made-up-7b", "made-up-13b"],
                "completions": [
                    completion("On its way.", 8.5),
                    completion("Dunno.", 3.0),
                ],
                "correct_answers": ["None"],
                "incorrect_answers": ["None"],
            }
        ],
        [
            (asked("Where is it?"), "On its way.", 8.5),
            (asked("Where is it?"), "Dunno.", 3.0),
        ],
    ),
    "ultrafeedback_binarized": (
        [
            {
                "prompt": "Where is it?",
                "prompt_id": "0a1b",
                "chosen": [U("Where is it?"), A("On its way.")],
                "rejected": [U("Where is it?"), A("Dunno.")],
                "messages": [U("Where is it?"), A("On its way.")],
                "score_chosen": 8.5,
                "score_rejected": 3.0,
            }
        ],
        [
            (asked("Where is it?"), "On its way.", 8.5),
            (asked("Where is it?"), "Dunno.", 3.0),
        ],
    ),
    "helpsteer2": (
        [
            {
                "prompt": prompt,
                "response": "On its way.",
                "helpfulness": 3,
                "correctness": 4,
                "coherence": 4,
                "complexity": 2,
                "verbosity": 1,
            }
            for prompt in (
                "Where is it?",
                "Hi\n<extra_id_1>Assistant\nYes?\n<extra_id_1>User\nWhere is it?",
            )
        ],
        [
            (asked("Where is it?"), "On its way.", 3.0),
            ("Human: Hi\n\nAssistant: Yes?\n\n" + asked("Where is it?"),)
            + ("On its way.", 3.0),
        ],
    ),
    "kto_mix": (
        [
            {"prompt": [U("Sky?")], "completion": [A("Blue.")], "label": True},
            {
                "prompt": [U("Hi"), A("Yes?"), U("Sky?")],
                "completion": [A("Hm.")],
                "label": False,
            },
        ],
        [
            (asked("Sky?"), "Blue.", 1.0),
            ("Human: Hi\n\nAssistant: Yes?\n\n" + asked("Sky?"), "Hm.", -1.0),
        ],
    ),
    "messages": (
        [{"messages": [U("Sky?"), A("Blue.")], "label": True}],
        [(asked("Sky?"), "Blue.", 1.0)],
    ),
}
PUBLISHED_TREES = {
    # Children before their parents: a file may have any order.
    "messages": (TREE[::-1], REPLIES[::-1]),
    "trees": ([{"message_tree_id": "m1", "prompt": nested(1)}], REPLIES),
}


@pytest.fixture
def load(write_jsonl, register_source):
    def load(rows, layout, **settings):
        source = jsonl_source({"train": write_jsonl(rows)}, layout)
        task = register_source(source, **settings_of(layout, settings))
        loaded = task.source.load("train")
        texts = zip(loaded.prompts, loaded.responses, loaded.rewards, strict=True)
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


@pytest.mark.parametrize(
    ("layout", "rows", "message"),
    [
        (
            "ultrafeedback",
            [{"instruction": "a", "completions": [{"response": "r"}]}],
            r"line 1 completion 1: field 'overall_score' is missing; the record has "
            + r"'completions', 'completions\[0\].response', 'instruction'",
        ),
        ("ultrafeedback", [{"instruction": "a"}], "'completions' is null, not a list"),
        ("oasst2", [{"prompt": "a"}], "neither a tree, .*, nor a message"),
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
