"""Conversations as chat software stores them: lists of messages, and tagged text."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dro_jax.data.records import RecordProblem, shown
from dro_jax.data.templates import describe_type

ASSISTANT = "assistant"
SYSTEM = "system"
USER = "user"
# What other software calls the three.
_ALIASES = {
    "human": USER,
    "prompter": USER,
    "gpt": ASSISTANT,
    "bot": ASSISTANT,
    "model": ASSISTANT,
    "developer": SYSTEM,
}
_KEYS = (("role", "content"), ("from", "value"))
_CALLS = ("tool_calls", "function_call")
_TAG = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant|System):")
_EXTRA_ID = re.compile(r"<extra_id_1>(User|Assistant)")


class Turn(NamedTuple):
    """One message: who speaks, and what, without white space around it."""

    role: str
    content: str


Turns = tuple[Turn, ...]


def read_turns(value: Any, field: str) -> Turns | None:
    """The turns of a list of messages, of one message, or of columns of them.

    A message is an object with `role` and `content`, or ShareGPT's `from` and `value`.
    Roles are read in lower case, and under one name each: `human` and `prompter` are the
    user, `gpt`, `bot` and `model` the assistant, `developer` is the system. A content
    is text, or a list of parts of text, which a line break joins.

    Args:
      value: the field's value.
      field: its name in the file, for messages.

    Returns:
      None where the value is text, or nothing like messages.

    Raises:
      RecordProblem: some of it is a message and some is not, or a content is no text.
    """
    messages = _messages(value)
    if messages is None:
        return None
    return tuple(
        _turn(message, f"turn {number} of '{field}'")
        for number, message in enumerate(messages, start=1)
    )


def tagged_turns(text: str, field: str) -> list[dict[str, str]] | None:
    r"""The messages of a text whose turns begin `\n\nHuman:` or `\n\nAssistant:`.

    Source: the files of Bai et al. 2022 (arXiv 2204.05862).

    Returns:
      None where no turn of the assistant's is tagged.

    Raises:
      RecordProblem: there is text before the first tag.
    """
    before, *parts = _TAG.split(text)
    if "Assistant" not in parts[::2]:
        return None
    if before.strip():
        raise RecordProblem(
            "untagged_turn",
            f"'{field}' begins with text that no 'Human:' or 'Assistant:' tags: "
            f"{shown(before.strip())!r}",
        )
    return _as_messages(parts)


def extra_id_turns(text: str) -> list[dict[str, str]]:
    """The messages of HelpSteer's prompts: the user's, then `<extra_id_1>Assistant` …"""
    first, *parts = _EXTRA_ID.split(text)
    messages = _as_messages(["User", first, *parts] if first.strip() else parts)
    if len(messages) > 1 and not messages[-1]["content"]:
        del messages[-1]  # the assistant's turn, opened for the response
    return messages


def _as_messages(parts: list[str]) -> list[dict[str, str]]:
    return [
        {"role": tag.lower(), "content": content.strip()}
        for tag, content in zip(parts[::2], parts[1::2], strict=True)
    ]


def _messages(value: Any) -> list[Any] | None:
    if isinstance(value, Mapping):
        for role, content in _KEYS:
            if role in value and content in value:
                columns = (value[role], value[content])
                if not all(isinstance(column, list | tuple) for column in columns):
                    return [value]
                if len(columns[0]) != len(columns[1]):
                    raise RecordProblem(
                        "unequal_lists",
                        f"'{role}' and '{content}' of messages have different lengths",
                    )
                return [
                    {role: r, content: c} for r, c in zip(*columns, strict=True)
                ] or None
        return None
    is_list = isinstance(value, list | tuple)
    if is_list and any(isinstance(item, Mapping) for item in value):
        return list(value)
    return None


def _turn(message: Any, where: str) -> Turn:
    fields = message if isinstance(message, Mapping) else {}
    roles, contents = zip(*_KEYS, strict=True)
    role_key = next((key for key in roles if key in fields), None)
    if role_key is None:
        raise RecordProblem(
            "wrong_type", f"{where} is no message: it has no role ('role' or 'from')"
        )
    role = fields[role_key]
    content = next((fields[key] for key in contents if key in fields), None)
    if not isinstance(role, str):
        raise RecordProblem(
            "wrong_type", f"the role of {where} is {describe_type(role)}"
        )
    for call in _CALLS:
        if message.get(call):
            raise RecordProblem(
                "tool_call", f"{where} calls a tool ('{call}'), which is no text"
            )
    role = role.strip().lower()
    return Turn(_ALIASES.get(role, role), _content(content, where).strip())


def _content(value: Any, where: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise RecordProblem(
            "wrong_type", f"the content of {where} is {describe_type(value)}, not text"
        )
    return "\n".join(_part(part, where) for part in value)


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, Mapping) else None
    if isinstance(text, str) and part.get("type", "text") == "text":
        return text
    kind = part.get("type") if isinstance(part, Mapping) else None
    raise RecordProblem(
        "not_text",
        f"the content of {where} has a part that is no text"
        + (f" but of type '{shown(kind)}'" if kind else ""),
    )
