"""Records in the shapes in which feedback is published, and what they hold.

All texts are made up for these tests.
"""


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
