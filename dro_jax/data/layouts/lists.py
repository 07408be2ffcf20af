"""Objects with a list of responses to one prompt."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dro_jax.data.conversations import ASSISTANT, USER
from dro_jax.data.layouts.layout import Fields
from dro_jax.data.records import DerivedFields, RecordProblem, missing_field
from dro_jax.data.templates import describe_type

_NUMBER = re.compile(r"\d+(\.\d+)?")
_MARKS = {"<|prompter|>": USER, "<|assistant|>": ASSISTANT}


def expand_list(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectories of `prompt`, `responses` and `rewards`, lists of one length.

    A response is a text, a message, a list of messages, or an object with a `response`,
    as `dro-jax generate` writes it.

    Raises:
      RecordProblem: they are no such lists.
    """
    responses, rewards = _lists(fields, "responses", "rewards")
    others = _without(fields, "responses", "rewards")
    for number, (response, reward) in enumerate(
        zip(responses, rewards, strict=True), start=1
    ):
        place = f"responses[{number - 1}]"
        if isinstance(response, Mapping) and "response" in response:
            place, response = f"{place}.response", response["response"]
        yield (
            f"response {number}",
            DerivedFields(
                {**others, "response": response, "reward": reward},
                {
                    "response": place,
                    "reward": f"rewards[{number - 1}]",
                },
                fields,
            ),
        )


def expand_completions(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectories of UltraFeedback's `completions`, objects with their scores.

    The `Rating` of each of its `annotations` is a field too, a number where it is one:
    `helpfulness`, `honesty`, `instruction_following`, `truthfulness`.

    Source: the files of Cui et al. 2023 (arXiv 2310.01377).

    Raises:
      RecordProblem: there is no such list.
    """
    if "completions" not in fields:
        raise missing_field(fields, "completions")
    completions = fields["completions"]
    if not isinstance(completions, list):
        raise RecordProblem(
            "wrong_type",
            f"'completions' is {describe_type(completions)}, not a list of objects",
        )
    others = _without(fields, "completions")
    for number, completion in enumerate(completions, start=1):
        place = f"completions[{number - 1}]"
        if not isinstance(completion, Mapping):
            raise RecordProblem(
                "wrong_type",
                f"'{place}' is {describe_type(completion)}, not an object",
            )
        ratings = _ratings(completion.get("annotations"))
        names = {name: f"{place}.{name}" for name in completion}
        names |= {name: f"{place}.annotations.{name}.Rating" for name in ratings}
        yield (
            f"completion {number}",
            DerivedFields(
                {**others, **ratings, **completion},
                names,
                [*fields, *(f"{place}.{name}" for name in completion)],
            ),
        )


def _ratings(annotations: Any) -> dict[str, Any]:
    """Aspect to rating, from objects, or from lists that hold one object."""
    found = {}
    for name, one in (annotations if isinstance(annotations, Mapping) else {}).items():
        if isinstance(one, list) and len(one) == 1:
            one = one[0]
        if isinstance(one, Mapping) and "Rating" in one:
            rating = one["Rating"]
            if isinstance(rating, str) and _NUMBER.fullmatch(rating.strip()):
                rating = float(rating)
            found[name] = rating  # "N/A" stays, to be told of
    return found


def expand_pro(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectories of PRO's format: lists `prefix` (of turns), `suffix`, `reward`.

    Turns begin with `<|prompter|>` or `<|assistant|>`; the last of a prefix is the
    assistant's, open.

    Source: the data files of PRO (arXiv 2306.17492), which A-LoL's experiments read too.

    Raises:
      RecordProblem: they are no lists of one length, or a turn is not as it should be.
    """
    columns = _lists(fields, "prefix", "suffix", "reward")
    for number, (turns, response, reward) in enumerate(
        zip(*columns, strict=True), start=1
    ):
        prompt = _dialogue(turns)
        yield (
            f"reply {number}",
            DerivedFields(
                {"prompt": prompt, "response": response, "reward": reward},
                {
                    "prompt": f"prefix[{number - 1}]",
                    "response": f"suffix[{number - 1}]",
                    "reward": f"reward[{number - 1}]",
                },
                fields,
            ),
        )


def _without(fields: Fields, *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _lists(fields: Fields, *names: str) -> list[list[Any]]:
    for name in names:
        if name not in fields:
            raise missing_field(fields, name)
    columns = [fields[name] for name in names]
    if not all(isinstance(column, list) for column in columns):
        quoted = [f"'{name}'" for name in names]
        raise RecordProblem(
            "wrong_type",
            f"{', '.join(quoted[:-1])} and {quoted[-1]} must all be lists",
        )
    if len(set(map(len, columns))) != 1:
        quoted = [f"'{name}'" for name in names]
        raise RecordProblem(
            "unequal_lists",
            f"{', '.join(quoted[:-1])} and {quoted[-1]} have different lengths, "
            + ", ".join(str(len(column)) for column in columns),
        )
    return columns


def _dialogue(turns: Any) -> list[dict[str, str]]:
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise RecordProblem("wrong_type", "a prefix is not a list of texts")
    messages = [_message(turn) for turn in turns]
    if not messages or messages.pop() != {"role": ASSISTANT, "content": ""}:
        raise RecordProblem(
            "no_open_turn", "a prefix does not end in an open turn of the assistant"
        )
    return messages


def _message(turn: str) -> dict[str, str]:
    for mark, role in _MARKS.items():
        if turn.startswith(mark):
            return {"role": role, "content": turn.removeprefix(mark).strip()}
    raise RecordProblem(
        "unknown_speaker", f"a turn begins {turn[:20]!r}, with no known speaker"
    )
