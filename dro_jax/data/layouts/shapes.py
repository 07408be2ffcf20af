"""Which layout a file's records have, told from the fields of the first of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dro_jax.data.conversations import read_turns, tagged_turns
from dro_jax.data.layouts.layout import Fields
from dro_jax.data.records import RecordProblem

_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_SCORES = ("score_chosen", "score_rejected")


class Shape(NamedTuple):
    """A layout and how its records are known."""

    layout: str
    fits: Callable[[Fields], bool]
    because: str


def is_text(value: Any) -> bool:
    """Whether a value is a text."""
    return isinstance(value, str)


def is_messages(value: Any) -> bool:
    """Whether a value is a conversation, or a part of one."""
    try:
        return read_turns(value, "") is not None
    except RecordProblem:
        return False


def is_dialogue(value: Any) -> bool:
    """Whether a value is messages of which the last is the assistant's."""
    return is_messages(value) and read_turns(value, "")[-1].role == "assistant"


def _is_tagged(value: Any) -> bool:
    try:
        return is_text(value) and tagged_turns(value, "") is not None
    except RecordProblem:
        return False


def _has(*names: str) -> Callable[[Fields], bool]:
    return lambda fields: all(name in fields for name in names)


def _are(kind: Callable[[Any], bool], *names: str) -> Callable[[Fields], bool]:
    return lambda fields: all(n in fields and kind(fields[n]) for n in names)


def _is_tree(fields: Fields) -> bool:
    root = fields.get("prompt")
    return isinstance(root, Mapping) and "replies" in root


def _has_completions(fields: Fields) -> bool:
    found = fields.get("completions")
    return (
        "instruction" in fields
        and isinstance(found, list)
        and all(isinstance(one, Mapping) and "response" in one for one in found)
    )


def _is_wizards(fields: Fields) -> bool:
    turns = fields.get("dialog")
    return (
        isinstance(turns, list)
        and bool(turns)
        and all(isinstance(one, Mapping) and "speaker" in one for one in turns)
    )


def _has_utterances(fields: Fields) -> bool:
    found = fields.get("utterances")
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(one, Mapping) and _is_grounded(one) for one in found)
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_is_grounded = _has("history", "knowledge", "response")
_two_messages = _are(is_messages, "chosen", "rejected")
_two_tagged = _are(_is_tagged, "chosen", "rejected")
_two_texts = _are(is_text, "chosen", "rejected")

# The first that fits is taken, so that what says more stands before what says less.
SHAPES: Sequence[Shape] = (
    Shape("oasst2", _is_tree, "'prompt' is the root of a tree of 'replies'"),
    Shape(
        "oasst2",
        _has("message_id", "parent_id", "role", "text"),
        "messages with 'message_id' and 'parent_id'",
    ),
    Shape(
        "wizard_of_wikipedia", _is_wizards, "'dialog' is turns, each with its 'speaker'"
    ),
    Shape(
        "faithdial",
        lambda fields: _has_utterances(fields) or _is_grounded(fields),
        "'history', 'knowledge' and 'response' of utterances",
    ),
    Shape(
        "ultrafeedback", _has_completions, "'instruction' and 'completions' of objects"
    ),
    Shape(
        "ultrafeedback_binarized",
        lambda fields: _two_messages(fields) and _has(*_SCORES)(fields),
        "'chosen' and 'rejected' are messages, with 'score_chosen', 'score_rejected'",
    ),
    Shape(
        "hh_rlhf",
        lambda fields: fields.get("prompt") is None and _two_tagged(fields),
        "'chosen' and 'rejected' are whole dialogues tagged Human: and Assistant:",
    ),
    Shape(
        "trl_paired",
        lambda fields: (
            set(fields) <= {"chosen", "rejected", *_SCORES} and _two_texts(fields)
        ),
        "'chosen' and 'rejected' are texts and there is no prompt: what both begin with",
    ),
    Shape("pairs", _has("chosen", "rejected"), "'chosen' and 'rejected'"),
    Shape(
        "pro",
        _are(_is_list, "prefix", "suffix", "reward"),
        "lists in 'prefix', 'suffix'",
    ),
    Shape(
        "lists", _are(_is_list, "responses", "rewards"), "lists 'responses', 'rewards'"
    ),
    Shape(
        "helpsteer2",
        _has("prompt", "response", *_ATTRIBUTES),
        f"'prompt', 'response', '{', '.join(_ATTRIBUTES)}'",
    ),
    Shape(
        "trl_unpaired",
        _has("prompt", "completion", "label"),
        "'prompt', 'completion' and 'label'",
    ),
)
