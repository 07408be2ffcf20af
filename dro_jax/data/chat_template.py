"""From the turns of a conversation to the prompt and the response that a model sees."""

import dataclasses
from collections.abc import Mapping

from dro_jax.data.conversations import ASSISTANT, SYSTEM, USER, Turns
from dro_jax.data.records import RecordProblem, shown
from dro_jax.data.templates import Template, describe_type
from dro_jax.errors import ConfigError

PLAIN = "plain"
AS_USER = "user"
HELPSTEER = "helpsteer"
TEXT_PROMPTS = (PLAIN, AS_USER, HELPSTEER)
_SEPARATOR = "separator"
# The tags of the Helpful and Harmless Assistant's prompts.
DEFAULT = {
    SYSTEM: "System: {content}",
    USER: "Human: {content}",
    ASSISTANT: "Assistant: {content}",
    _SEPARATOR: "\n\n",
}


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    r"""How turns become a prompt: each by its role's text, joined, the last one open.

    The prompt ends in the assistant's text up to its `{content}`, without white space at
    its end: `Human: hello\n\nAssistant:`. A role without a text is refused, so that
    `{'tool': 'Tool: {content}'}` keeps what tools said.

    Attributes:
      texts: role to text, which contains `{content}`; `separator`, what stands between
        turns. What is not named is as in `DEFAULT`.

    Raises:
      ConfigError: a text cannot be used.
    """

    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.texts, Mapping):
            raise ConfigError(
                f"chat_template is {describe_type(self.texts)}: give role and text, as "
                "{'user': 'Human: {content}', 'assistant': 'Assistant: {content}'}"
            )
        texts = {**DEFAULT, **self.texts}
        separator = texts.pop(_SEPARATOR)
        if not isinstance(separator, str):
            raise ConfigError("the separator of chat_template must be text")
        templates = {
            role: Template(text, f"chat_template['{role}']")
            for role, text in texts.items()
        }
        for role, template in templates.items():
            if template.fields != ("content",) or template.text.count("{content}") != 1:
                raise ConfigError(
                    f"chat_template['{role}'] = {template.text!r} must contain "
                    "'{content}' once, and no other field"
                )
        opened = templates[ASSISTANT].render({"content": "\0"}).partition("\0")[0]
        object.__setattr__(self, "_templates", templates)
        object.__setattr__(self, "_separator", separator)
        object.__setattr__(self, "_opened", opened.rstrip())

    def prompt(self, turns: Turns, field: str) -> str:
        """The prompt that the turns before a response make.

        An empty turn of the system's is left out, since nothing is lost by it.

        Raises:
          RecordProblem: there are none, a turn is empty or of an unknown role, or the
            last is the assistant's, so that a response would answer nobody.
        """
        if not turns:
            raise RecordProblem(
                "empty_prompt", f"'{field}' has no turn before the response: no prompt"
            )
        if turns[-1].role == ASSISTANT:
            raise RecordProblem(
                "no_open_turn",
                f"the prompt in '{field}' ends in a turn of the assistant, so that the "
                "response would follow another of its own",
            )
        texts = []
        for number, (role, content) in enumerate(turns, start=1):
            if role not in self._templates:
                raise RecordProblem("unknown_role", self._unknown(role, number, field))
            if content:
                texts.append(self._templates[role].render({"content": content}))
            elif role != SYSTEM:
                raise RecordProblem(
                    "empty_turn", f"turn {number} of '{field}', the {role}'s, is empty"
                )
        return self._separator.join([*texts, self._opened])

    def _unknown(self, role: str, number: int, field: str) -> str:
        return (
            f"turn {number} of '{field}' is of the role '{shown(role)}', for which "
            f"chat_template has no text (it has {', '.join(self._templates)}): give it "
            f"one, as {{'{shown(role)}': '{shown(role).capitalize()}: {{content}}'}}, "
            "to keep such turns"
        )


def check_text_prompts(kind: str) -> str:
    """The kind itself: how a prompt that is text is read.

    Raises:
      ConfigError: an unknown one.
    """
    if kind not in TEXT_PROMPTS:
        raise ConfigError(
            f"text_prompts = {kind!r} is unknown: use 'plain' for texts as they are, "
            "'user' for the words of a user, or 'helpsteer' for those and further turns "
            "that '<extra_id_1>' begins"
        )
    return kind


def split_last(turns: Turns, field: str) -> tuple[Turns, str]:
    """The turns before the last, and the last one's content, which is the response.

    Raises:
      RecordProblem: the last turn is not the assistant's.
    """
    *before, last = turns
    if last.role != ASSISTANT:
        raise RecordProblem(
            "no_response",
            f"'{field}' ends in a turn of the role '{shown(last.role)}': the last turn "
            "must be the assistant's, since it is the response",
        )
    return tuple(before), last.content


def join_turns(
    prompt: Turns | str | None, before: Turns, names: tuple[str, str]
) -> Turns | str:
    """One context from a prompt and the turns that stand before the response.

    A prompt that the turns begin with, or a text that one of the user's turns repeats,
    is not said twice.

    Args:
      prompt: turns, a text, or None where the record has no prompt of its own.
      before: the response's turns but for the last.
      names: the fields of prompt and response.

    Raises:
      RecordProblem: the prompt is a text that the turns do not hold: whose it is and
        where it belongs is not told.
    """
    if prompt is None or not before:
        return before if prompt is None else prompt
    if isinstance(prompt, str):
        said = (" ".join(turn.content.split()) for turn in before if turn.role == USER)
        if " ".join(prompt.split()) not in said:
            raise RecordProblem(
                "prompts_differ",
                f"'{names[1]}' holds a conversation in which no turn of the user's is "
                f"the text '{names[0]}': give '{names[0]}' as messages, or leave it out",
            )
        return before
    return before if before[: len(prompt)] == prompt else prompt + before
