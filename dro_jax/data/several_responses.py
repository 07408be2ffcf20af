"""Stored objects that hold several responses to one prompt, as single trajectories."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dro_jax.data.records import RecordProblem
from dro_jax.data.sources import ExpandedSource, JsonlSource, Paths
from dro_jax.errors import ConfigError

Fields = Mapping[str, Any]
_SIDES = ("chosen", "rejected")
_TAGS = {"<|prompter|>": "Human:", "<|assistant|>": "Assistant:"}


def expand_pair(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectories of `prompt`, `chosen` and `rejected`.

    Either side is a text, or a list of messages whose last one's `content` is the
    response. Its reward is `score_chosen` or `score_rejected` where the object has it,
    else 1 for the chosen and 0 for the rejected response.

    Raises:
      RecordProblem: a side is missing or holds no text.
    """
    for side in _SIDES:
        reward = fields.get(f"score_{side}", float(side == "chosen"))
        response = _last_message(fields.get(side), side)
        yield side, {**_others(fields), "response": response, "reward": reward}


def expand_list(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectories of `prompt`, `responses` and `rewards`, lists of one length.

    Raises:
      RecordProblem: they are no such lists.
    """
    responses, rewards = _lists(fields, "responses", "rewards")
    for number, (response, reward) in enumerate(
        zip(responses, rewards, strict=True), start=1
    ):
        fields_of_one = {**_others(fields), "response": response, "reward": reward}
        yield f"response {number}", fields_of_one


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
        yield (
            f"reply {number}",
            {"prompt": _dialogue(turns), "response": response, "reward": reward},
        )


Expand = Callable[[Fields], Iterable[tuple[str, Fields]]]
LAYOUTS: Mapping[str, Expand | None] = {
    "trajectories": None,
    "pairs": expand_pair,
    "lists": expand_list,
    "pro": expand_pro,
}


def jsonl_source(
    files: Mapping[str, Paths], layout: str = "trajectories"
) -> JsonlSource | ExpandedSource:
    """JSONL files whose lines hold one trajectory or several.

    Args:
      files: split name to a path or several.
      layout: `trajectories`, one a line; `pairs`, see :func:`expand_pair`; `lists`, see
        :func:`expand_list`; `pro`, see :func:`expand_pro`.

    Raises:
      ConfigError: the layout is unknown, or a split has no files.
    """
    if layout not in LAYOUTS:
        raise ConfigError(
            f"layout = {layout!r} is unknown: use one of {', '.join(map(repr, LAYOUTS))}"
        )
    source = JsonlSource(files)
    if (expand := LAYOUTS[layout]) is None:
        return source
    return ExpandedSource(
        source, expand, {split: (split, lambda fields: True) for split in files}
    )


def _others(fields: Fields) -> dict[str, Any]:
    """The fields that all responses share."""
    return {
        name: value
        for name, value in fields.items()
        if name not in (*_SIDES, "responses", "rewards")
    }


def _last_message(value: Any, side: str) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], Mapping):
        value = value[-1].get("content")
    if not isinstance(value, str):
        raise RecordProblem(
            "wrong_type", f"'{side}' is missing, or is neither text nor messages"
        )
    return value


def _lists(fields: Fields, *names: str) -> list[list[Any]]:
    columns = [fields.get(name) for name in names]
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


def _dialogue(turns: Any) -> str:
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise RecordProblem("wrong_type", "a prefix is not a list of texts")
    tagged = [_tagged(turn) for turn in turns]
    if not tagged or tagged[-1] != "Assistant:":
        raise RecordProblem(
            "no_open_turn", "a prefix does not end in an open turn of the assistant"
        )
    return "\n\n".join(tagged)


def _tagged(turn: str) -> str:
    for mark, speaker in _TAGS.items():
        if turn.startswith(mark):
            return f"{speaker} {turn.removeprefix(mark).strip()}".rstrip()
    raise RecordProblem(
        "unknown_speaker", f"a turn begins {turn[:20]!r}, with no known speaker"
    )
