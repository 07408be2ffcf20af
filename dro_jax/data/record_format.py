"""From a record's fields to (prompt, response, reward): names, templates, checks."""

import dataclasses
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from dro_jax.data.chat_template import (
    AS_USER,
    HELPSTEER,
    PLAIN,
    ChatTemplate,
    check_text_prompts,
    join_turns,
    split_last,
)
from dro_jax.data.conversations import (
    ASSISTANT,
    USER,
    Turns,
    extra_id_turns,
    read_turns,
)
from dro_jax.data.records import (
    RecordProblem,
    missing_field,
    name_in_file,
    names_in_file,
    shown,
)
from dro_jax.data.rewards import Float, RewardKind
from dro_jax.data.templates import Template, describe_type
from dro_jax.errors import ConfigError

# Controls, formats, halves of surrogate pairs, separators. What this Python's Unicode
# does not know yet, as the newest emoji, is not blank.
_BLANK_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))


class FeedbackRecord(NamedTuple):
    """A valid trajectory: the texts that the model sees and the recorded reward."""

    prompt: str
    response: str
    reward: float


@dataclasses.dataclass(frozen=True)
class RecordFormat:
    """How records of a source are read.

    Attributes:
      prompt_field: the field that `{prompt}` stands for.
      response_field: the field that `{response}` stands for.
      reward_field: the field with the feedback.
      id_field: a field that names the record in messages; None, the source's own name.
      prompt_template: the model's input, from any fields of the record.
      response_template: the model's target; it must contain `{response}`.
      reward_kind: how the feedback becomes a number.
      chat_template: how prompts that are messages become text.
      text_prompts: how prompts that are text are read: `plain`, as they are; `user`, as
        a user's turn; `helpsteer`, likewise, with turns that `<extra_id_1>` begins.

    Prompts and responses may be messages, of one field or of two: the last turn, which
    must be the assistant's, is the response, and all turns before it are the prompt.

    Raises:
      ConfigError: a template or a setting cannot be used.
    """

    prompt_field: str = "prompt"
    response_field: str = "response"
    reward_field: str = "reward"
    id_field: str | None = None
    prompt_template: str = "{prompt}"
    response_template: str = "{response}"
    reward_kind: RewardKind = dataclasses.field(default_factory=Float)
    chat_template: ChatTemplate = dataclasses.field(default_factory=ChatTemplate)
    text_prompts: str = PLAIN

    def __post_init__(self):
        check_text_prompts(self.text_prompts)
        templates = (
            Template(self.prompt_template, "prompt_template"),
            Template(self.response_template, "response_template"),
        )
        if "response" not in templates[1].fields:
            raise ConfigError(
                f"response_template = {self.response_template!r} does not contain "
                "'{response}', so the model would not learn the response"
            )
        object.__setattr__(self, "_templates", templates)
        # Most records are texts that are taken as they are: a third of the work.
        plain_prompts = (
            self.prompt_template == "{prompt}"
            and self.text_prompts == PLAIN
            and self.prompt_field != self.response_field
        )
        object.__setattr__(self, "_plain_prompts", plain_prompts)
        object.__setattr__(
            self, "_plain_responses", self.response_template == "{response}"
        )

    def parse(self, fields: Mapping[str, Any]) -> FeedbackRecord:
        """The trajectory that a record holds.

        Raises:
          RecordProblem: it holds none that can be trained on.
        """
        reward = self._reward(fields)
        return FeedbackRecord(self.prompt(fields), self.response(fields), reward)

    def prompt(self, fields: Mapping[str, Any]) -> str:
        """The model's input; the record needs no response and no reward.

        A response that is messages counts where the record has it: its turns before the
        last are part of the prompt.

        Raises:
          RecordProblem: a field of the template is missing or unusable.
        """
        if self._plain_prompts and isinstance(fields.get(self.response_field), str):
            prompt = fields.get(self.prompt_field)
            if _is_usable(prompt):
                return prompt
        return self._render("prompt", self._templates[0], fields)

    def response(self, fields: Mapping[str, Any]) -> str:
        """The model's target; the record needs no reward.

        Raises:
          RecordProblem: a field of the template is missing or unusable.
        """
        if self._plain_responses:
            response = fields.get(self.response_field)
            if _is_usable(response):
                return response
        return self._render("response", self._templates[1], fields)

    def identity(self, identity: str, fields: Mapping[str, Any] | None) -> str:
        """The record's place, with the value of `id_field` where it has one."""
        value = (fields or {}).get(self.id_field) if self.id_field else None
        if value is None:
            return identity
        return f"{identity} ({self.id_field} {shown(value)})"

    def check_templates(self, identity: str, fields: Mapping[str, Any]) -> None:
        """Compares the templates with a record.

        Raises:
          ConfigError: a template names a field that the record does not have.
        """
        for template, setting in zip(
            self._templates, ("prompt_template", "response_template"), strict=True
        ):
            for name in template.fields:
                if name not in ("prompt", "response") and name not in fields:
                    raise ConfigError(
                        f"{setting} = {template.text!r} names the field '{name}', which "
                        f"{identity} does not have. Its fields are: "
                        f"{', '.join(names_in_file(fields)) or 'none'}"
                    )

    def _render(self, role: str, template: Template, fields: Mapping[str, Any]) -> str:
        text = template.render(self._values(fields, template))
        if set(template.fields) <= {"prompt", "response"}:
            return text
        return _text(text, role, f"as {role}_template makes it")

    def _values(self, fields: Mapping[str, Any], template: Template) -> dict[str, Any]:
        used = template.fields
        values = {name: fields[name] for name in used if name in fields}
        for alias, name, read in (
            ("prompt", self.prompt_field, self._prompt_text),
            ("response", self.response_field, self._response_text),
        ):
            if alias in used:
                shown_name = name_in_file(fields, name)
                where = "" if shown_name == alias else f"field '{shown_name}'"
                values[alias] = _text(read(fields), alias, where)
        return values

    def _prompt_text(self, fields: Mapping[str, Any]) -> Any:
        """The prompt as text; what is neither text nor messages, as it is."""
        name = self.prompt_field
        field = name_in_file(fields, name)
        if name == self.response_field:
            turns = read_turns(self._required(fields, name), field)
            if turns is None:
                raise RecordProblem(
                    "wrong_type",
                    f"'{field}' is prompt and response in one, so it must be a list of "
                    f"messages, not {describe_type(fields[name])}",
                )
            before = turns[:-1] if turns[-1].role == ASSISTANT else turns
            return self.chat_template.prompt(before, field)
        before, other = self._turns_before_response(fields)
        # Tables have null where an object has no such field.
        if not before or fields.get(name) is not None:
            value = self._required(fields, name)
            prompt = self._read_prompt(value, field, before)
            if not isinstance(prompt, str | tuple):
                return value
        else:
            prompt, field = None, other
        context = join_turns(prompt, before, (field, other))
        if isinstance(context, str):
            return context
        return self.chat_template.prompt(context, field)

    def _turns_before_response(self, fields: Mapping[str, Any]) -> tuple[Turns, str]:
        name = self.response_field
        field = name_in_file(fields, name)
        turns = read_turns(fields.get(name), field)
        return ((), field) if turns is None else (split_last(turns, field)[0], field)

    def _read_prompt(self, value: Any, field: str, before: Turns) -> Any:
        # A text beside a whole conversation is compared with it as it is.
        if isinstance(value, str) and not before and value.strip():
            if self.text_prompts == AS_USER:
                value = [{"role": USER, "content": value}]
            elif self.text_prompts == HELPSTEER:
                value = extra_id_turns(value)
        turns = read_turns(value, field)
        return value if turns is None else turns

    def _response_text(self, fields: Mapping[str, Any]) -> Any:
        value = self._required(fields, self.response_field)
        field = name_in_file(fields, self.response_field)
        turns = read_turns(value, field)
        return value if turns is None else split_last(turns, field)[1]

    def _reward(self, fields: Mapping[str, Any]) -> float:
        value = self._required(fields, self.reward_field)
        try:
            return self.reward_kind.parse(value)
        except RecordProblem as problem:
            name = name_in_file(fields, self.reward_field)
            if name == "reward":
                raise
            message = problem.message.replace(
                "the reward", f"the reward (field '{name}')", 1
            )
            raise RecordProblem(problem.reason, message) from problem

    def _required(self, fields: Mapping[str, Any], name: str) -> Any:
        if name not in fields:
            raise missing_field(fields, name)
        return fields[name]


def _is_usable(value: Any) -> bool:
    """Whether a value is plainly a text that `_text` accepts; False leaves it open."""
    if not isinstance(value, str) or not value:
        return False
    if unicodedata.category(value[0]) in _BLANK_CATEGORIES:
        return False
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _text(value: Any, role: str, where: str) -> str:
    where = f" ({where})" if where else ""
    if not isinstance(value, str):
        raise RecordProblem(
            "wrong_type", f"the {role}{where} is {describe_type(value)}, not text"
        )
    if all(unicodedata.category(char) in _BLANK_CATEGORIES for char in value):
        raise RecordProblem(
            f"empty_{role}",
            f"the {role}{where} is empty" + (" but for white space" if value else ""),
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordProblem(
            "invalid_utf8",
            f"the {role}{where} is not valid Unicode: character {error.start} is half "
            "of a surrogate pair",
        ) from error
    return value
