"""Dialogues about passages in the shapes in which they are published.

All texts are made up for these tests.
"""

PASSAGE = [{"Tea": ["Tea is a hot drink.", "It is older than coffee."]}]


def wizard(text, checked, number=0):
    """A wizard's turn; `checked` is the sentence that was chosen, None without any."""
    if checked is None:
        sentence, passage = {}, {}
    elif checked == "no_passages_used":
        sentence = passage = {checked: checked}
    else:
        sentence, passage = {f"self_Tea_{number}": checked}, {"chosen_topic": "Tea"}
    return {
        "speaker": "0_Wizard",
        "text": text,
        "checked_sentence": sentence,
        "checked_passage": passage,
        "retrieved_passages": PASSAGE,
        "retrieved_topics": ["Tea"],
    }


def apprentice(text):
    return {
        "speaker": "1_Apprentice",
        "text": text,
        "retrieved_passages": PASSAGE,
        "retrieved_topics": ["Tea"],
    }


def wizards(*turns):
    return {
        "chosen_topic": "Tea",
        "persona": "i like tea.",
        "wizard_eval": 5,
        "dialog": list(turns),
        "chosen_topic_passage": ["Tea is a hot drink."],
    }


def utterance(history, knowledge, response, **others):
    return {
        "history": history,
        "speaker": "Wizard",
        "knowledge": knowledge,
        "original_response": None,
        "response": response,
        "BEGIN": ["Entailment"],
        "VRM": ["Disclosure"],
        **others,
    }


WIZARD = [
    wizards(
        wizard("I know all of tea.", "Tea is a hot drink."),
        apprentice("Is it old?"),
        wizard("Older than coffee.", "It is older than coffee.", 1),
        apprentice("Do you like it?"),
        wizard("I do!", "no_passages_used"),
        apprentice("Why?"),
        wizard("Hm.", None),
        apprentice("Come on."),
        wizard("It is hot.", "Tea is a hot drink."),
    ),
    wizards(apprentice("Tea?"), wizard("A hot drink.", "Tea is a hot drink.")),
]
WIZARD_PROMPTS = [
    (
        "Knowledge: It is older than coffee.\n\nWizard: I know all of tea.\n\n"
        "Apprentice: Is it old?\n\nWizard:"
    ),
    (
        "Knowledge: Tea is a hot drink.\n\nWizard: I know all of tea.\n\n"
        "Apprentice: Is it old?\n\nWizard: Older than coffee.\n\n"
        "Apprentice: Do you like it?\n\nWizard: I do!\n\nApprentice: Why?\n\nWizard: Hm.\n\n"
        "Apprentice: Come on.\n\nWizard:"
    ),
    "Knowledge: Tea is a hot drink.\n\nApprentice: Tea?\n\nWizard:",
]
WIZARD_RESPONSES = ["Older than coffee.", "It is hot.", "A hot drink."]
FAITHDIAL = [
    {
        "dialog_idx": 0,
        "utterances": [
            utterance(["Tea?"], "Tea is a hot drink.", "It is a hot drink."),
            utterance(
                ["Tea?", "It is a hot drink.", "Is it old?"],
                "It is older than coffee. ",
                "Older than coffee, yes.",
                original_response="I drank it as a child.",
                BEGIN=["Hallucination", "Entailment"],
            ),
        ],
    }
]
FAITHDIAL_PROMPTS = [
    "Knowledge: Tea is a hot drink.\n\nApprentice: Tea?\n\nWizard:",
    (
        "Knowledge: It is older than coffee.\n\nApprentice: Tea?\n\n"
        "Wizard: It is a hot drink.\n\nApprentice: Is it old?\n\nWizard:"
    ),
]
FAITHDIAL_RESPONSES = ["It is a hot drink.", "Older than coffee, yes."]
