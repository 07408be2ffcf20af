"""Objects with a chosen and a rejected response."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dro_jax.data.chat_template import split_last
from dro_jax.data.conversations import read_turns, tagged_turns
from dro_jax.data.layouts.layout import Fields
from dro_jax.data.records import DerivedFields, RecordProblem, missing_field
from dro_jax.data.templates import describe_type

SIDES = ("chosen", "rejected")
# Where publishers put a side's score.
_SCORES = ("score_{}", "{}_score", "{}_rating")

_LAST_WORD = re.compile(r"\S*\Z")


def expand_pair(fields: Fields) -> Iterator[tuple[str, Fields]]:
    r"""The trajectories of `chosen` and `rejected`, with or without a `prompt`.

    A side is a text or messages. Without a prompt of its own a side holds the whole
    conversation, as messages or as text whose turns begin `\n\nHuman:` and
    `\n\nAssistant:`; both sides must be alike up to the last turn. A side's reward is
    `score_chosen` or `score_rejected` (or `chosen_score`, `chosen_rating`) where the
    object has it, else 1 for the chosen and 0 for the rejected response.

    Raises:
      RecordProblem: a side is missing, or the two do not answer one prompt.
    """
    yield from _trajectories(fields, {side: _side(fields, side) for side in SIDES})


def expand_dialogues(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """As :func:`expand_pair`, of whole conversations alone: the files of hh-rlhf.

    Raises:
      RecordProblem: as there, or a side is text without a turn of the assistant's.
    """
    sides = {side: _side(fields, side) for side in SIDES}
    for side, value in sides.items():
        if isinstance(value, str):
            raise RecordProblem(
                "no_reply",
                f"'{side}' holds no turn of the assistant, which would begin "
                "'\\n\\nAssistant:'",
            )
    yield from _trajectories(fields, sides)


def expand_trl_pair(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """As :func:`expand_pair`; a prompt may also be what two plain texts begin with.

    That is, where there is no `prompt` and no tag: as many whole words as are common.

    Raises:
      RecordProblem: as there, or the two texts begin with different words.
    """
    sides = {side: _side(fields, side) for side in SIDES}
    if fields.get("prompt") is None and all(isinstance(s, str) for s in sides.values()):
        prompt = _common_words(*sides.values())
        fields = {**fields, "prompt": prompt}
        sides = {side: text[len(prompt) :] for side, text in sides.items()}
    yield from _trajectories(fields, sides)


def _trajectories(
    fields: Fields, sides: Mapping[str, Any]
) -> Iterator[tuple[str, Fields]]:
    # A record is one pair, so it is judged before either of its sides.
    _check_one_prompt(sides)
    others = {name: value for name, value in fields.items() if name not in SIDES}
    for side, response in sides.items():
        score = _score_field(fields, side)
        reward = float(side == "chosen") if score is None else fields[score]
        yield (
            side,
            DerivedFields(
                {**others, "response": response, "reward": reward},
                {"response": side, "reward": score or "reward"},
                fields,
            ),
        )


def _side(fields: Fields, side: str) -> Any:
    value = fields.get(side)
    if isinstance(value, str):
        # With a prompt of its own, tags in a response are the response's.
        tagged = None if fields.get("prompt") is not None else tagged_turns(value, side)
        return value if tagged is None else tagged
    if read_turns(value, side) is None:
        if side not in fields:
            raise missing_field(fields, side)
        raise RecordProblem(
            "wrong_type",
            f"'{side}' is {describe_type(value)}, neither text nor messages",
        )
    return value


def _check_one_prompt(sides: Mapping[str, Any]) -> None:
    before = {
        side: split_last(turns, side)[0]
        for side, value in sides.items()
        if (turns := read_turns(value, side)) is not None
    }
    if len(before) == 2 and before["chosen"] != before["rejected"]:
        raise RecordProblem(
            "prompts_differ",
            "'chosen' and 'rejected' differ before their last turn, so that they do not "
            "answer one prompt",
        )


def _score_field(fields: Fields, side: str) -> str | None:
    return next((n for s in _SCORES if (n := s.format(side)) in fields), None)


def _common_words(chosen: str, rejected: str) -> str:
    # As long as both agree, then back to the last white space before.
    common = os.path.commonprefix((chosen, rejected))
    words = common[: len(common) - len(_LAST_WORD.search(common)[0])].rstrip()
    if not words:
        raise RecordProblem(
            "empty_prompt",
            "'chosen' and 'rejected' begin with different words, and the record has no "
            "'prompt': what they answer is not told",
        )
    return words
