"""Dialogues about a passage that one speaker reads: Wizard of Wikipedia and FaithDial.

Each reply of the wizard's to the apprentice, for which a sentence was chosen that it rests
on, is a trajectory: the prompt is that knowledge and the dialogue so far, as messages.
The files hold no rewards.

Sources: Dinan et al. 2019 (arXiv 1811.01241), the files of ParlAI; Dziri et al. 2022 (arXiv
2204.10757), the files of McGill-NLP/FaithDial, and its code, which tags speakers; Baheti et
al. 2024 (arXiv 2305.14718), whose code (https://github.com/abaheti95/LoL-RL,
preprocess_wow_and_add_rewards.py) says which replies are used and that the knowledge comes
first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.data.conversations import ASSISTANT, SYSTEM, USER
from dro_jax.data.layouts.layout import Fields
from dro_jax.data.records import DROP, DerivedFields, RecordProblem, missing_field
from dro_jax.data.templates import describe_type

# Words that vocabularies without line breaks or brackets, as T5's, leave as they are.
TAGS = {
    SYSTEM: "Knowledge: {content}",
    USER: "Apprentice: {content}",
    ASSISTANT: "Wizard: {content}",
}
SETTINGS = {
    "prompt_field": "messages",
    "response_field": "messages",
    "chat_template": TAGS,
    "on_bad_record": DROP,
}
_NOTHING_CHOSEN = "no_passages_used"
_WIZARD, _APPRENTICE = "wizard", "apprentice"

Messages = Sequence[Mapping[str, str]]


def expand_wizard(
    fields: Fields, most_words: int | None = None
) -> Iterator[tuple[str, Fields]]:
    """The trajectories of an object of Wizard of Wikipedia: `dialog`, a list of turns.

    Turns have `speaker` (`0_Wizard`, `1_Apprentice`) and `text`, the wizard's also
    `checked_sentence`, an object with the sentence that was chosen; replies without one,
    and a wizard's opening, are no trajectories, but part of the dialogue.

    Args:
      fields: the object's.
      most_words: of the dialogue, whose oldest turns are left out; None, all of it.

    Raises:
      RecordProblem: it is of another shape.
    """
    before: list[dict[str, str]] = []
    for number, turn in enumerate(_objects(fields, "dialog"), start=1):
        place = f"dialog[{number - 1}]"
        role, text = _speaker(turn, place), _text(turn, "text", place)
        knowledge = _chosen(turn, place) if role == ASSISTANT else None
        if knowledge and before:
            names = {
                "messages": f"{place}.text",
                "response": f"{place}.text",
                "knowledge": f"{place}.checked_sentence",
            }
            yield (
                f"turn {number}",
                _trajectory(knowledge, before, text, most_words, names, fields),
            )
        before.append({"role": role, "content": text})


def expand_faithdial(
    fields: Fields, most_words: int | None = None
) -> Iterator[tuple[str, Fields]]:
    """The trajectories of an object of FaithDial: `utterances`, the wizard's replies.

    Each has its `history`, texts of which the last is the apprentice's, `knowledge` and
    `response`; `original_response`, `BEGIN` and `VRM` are kept. An object that is such an
    utterance itself, as the hub's own tables have them, is one trajectory. An utterance
    that cannot be used costs the others nothing: the first such is told at the end.

    Args:
      fields: the object's.
      most_words: as for :func:`expand_wizard`.

    Raises:
      RecordProblem: it, or an utterance of it, is of another shape or has no knowledge.
    """
    if "utterances" not in fields:
        yield "", _utterance(fields, "", most_words, fields)
        return
    first = None
    for number, utterance in enumerate(_objects(fields, "utterances"), start=1):
        place = f"utterances[{number - 1}]."
        try:
            made = _utterance(utterance, place, most_words, fields)
        except RecordProblem as problem:
            first = first or problem
        else:
            yield f"reply {number}", made
    if first is not None:
        raise first


def _utterance(
    utterance: Fields, place: str, most_words: int | None, stored: Fields
) -> DerivedFields:
    for name in ("history", "knowledge", "response"):
        if name not in utterance:
            raise missing_field(utterance, name)
    history = utterance["history"]
    if not isinstance(history, list) or not all(isinstance(t, str) for t in history):
        raise RecordProblem("wrong_type", f"'{place}history' is not a list of texts")
    if not history:
        raise RecordProblem("empty_prompt", f"'{place}history' is empty: no prompt")
    # The last is what the wizard answers; those before it alternate.
    roles = [ASSISTANT if n % 2 else USER for n in range(len(history))]
    before = [
        {"role": role, "content": text}
        for role, text in zip(reversed(roles), history, strict=True)
    ]
    knowledge = _text(utterance, "knowledge", place.rstrip("."))
    if not knowledge.strip():
        raise RecordProblem("no_knowledge", f"'{place}knowledge' is empty")
    response = _text(utterance, "response", place.rstrip("."))
    others = {n: utterance.get(n) for n in ("original_response", "BEGIN", "VRM")}
    names = {
        "messages": f"{place}response",
        "response": f"{place}response",
        "knowledge": f"{place}knowledge",
    }
    return _trajectory(knowledge, before, response, most_words, names, stored, others)


def _trajectory(
    knowledge: str,
    before: Messages,
    response: str,
    most_words: int | None,
    names: Mapping[str, str],
    stored: Fields,
    others: Mapping[str, Any] | None = None,
) -> DerivedFields:
    messages = [
        {"role": SYSTEM, "content": knowledge},
        *_newest(before, most_words),
        {"role": ASSISTANT, "content": response},
    ]
    made = {"messages": messages, "knowledge": knowledge, "response": response}
    return DerivedFields({**(others or {}), **made}, names, stored)


def _newest(turns: Messages, most_words: int | None) -> Messages:
    """The newest turns that have no more words; the last, however long it is."""
    if most_words is None:
        return turns
    words, kept = 0, []
    for turn in reversed(turns):
        words += len(turn["content"].split())
        if kept and words > most_words:
            break
        kept.append(turn)
    return kept[::-1]


def _speaker(turn: Fields, place: str) -> str:
    """Whose turn it is, by names as `0_Wizard`."""
    speaker = _text(turn, "speaker", place).lower()
    if _WIZARD in speaker:
        return ASSISTANT
    if _APPRENTICE in speaker:
        return USER
    raise RecordProblem(
        "unknown_speaker",
        f"'{place}.speaker' is {turn['speaker']!r}, neither the wizard nor the apprentice",
    )


def _chosen(turn: Fields, place: str) -> str | None:
    """The sentence that the wizard chose; None without one."""
    chosen = turn.get("checked_sentence") or {}
    if not isinstance(chosen, Mapping):
        raise RecordProblem(
            "wrong_type",
            f"'{place}.checked_sentence' is {describe_type(chosen)}, not an object",
        )
    # Columns of a table have a name for every key that occurs, most of them empty.
    sentence = next((value for value in chosen.values() if value), None)
    if sentence is None or sentence == _NOTHING_CHOSEN:
        return None
    if not isinstance(sentence, str):
        raise RecordProblem(
            "wrong_type",
            f"'{place}.checked_sentence' holds {describe_type(sentence)}, not a text",
        )
    return sentence.strip()


def _objects(fields: Fields, name: str) -> Sequence[Fields]:
    if name not in fields:
        raise missing_field(fields, name)
    found = fields[name]
    if not isinstance(found, list) or not all(isinstance(x, Mapping) for x in found):
        raise RecordProblem("wrong_type", f"'{name}' is not a list of objects")
    return found


def _text(fields: Fields, name: str, place: str) -> str:
    where = f"{place}.{name}" if place else name
    value = fields.get(name)
    if not isinstance(value, str):
        raise RecordProblem(
            "wrong_type", f"'{where}' is {describe_type(value)}, not text"
        )
    return value
