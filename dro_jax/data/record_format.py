"""From a record's fields to (prompt, response, reward): names, templates, checks."""

import dataclasses
import unicodedata
from collections.abc import Mapping
from typing import Any

from dro_jax.data.records import RecordProblem, shown
from dro_jax.data.rewards import Float, RewardKind
from dro_jax.data.templates import Template, describe_type
from dro_jax.errors import ConfigError

# Controls, formats, halves of surrogate pairs, separators. What this Python's Unicode
# does not know yet, as the newest emoji, is not blank.
_BLANK_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))


@dataclasses.dataclass(frozen=True)
class FeedbackRecord:
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

    Raises:
      ConfigError: a template cannot be used.
    """

    prompt_field: str = "prompt"
    response_field: str = "response"
    reward_field: str = "reward"
    id_field: str | None = None
    prompt_template: str = "{prompt}"
    response_template: str = "{response}"
    reward_kind: RewardKind = dataclasses.field(default_factory=Float)

    def __post_init__(self):
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

    def parse(self, fields: Mapping[str, Any]) -> FeedbackRecord:
        """The trajectory that a record holds.

        Raises:
          RecordProblem: it holds none that can be trained on.
        """
        reward = self.reward_kind.parse(self._required(fields, self.reward_field))
        return FeedbackRecord(self.prompt(fields), self.response(fields), reward)

    def prompt(self, fields: Mapping[str, Any]) -> str:
        """The model's input; the record needs no response and no reward.

        Raises:
          RecordProblem: a field of the template is missing or unusable.
        """
        return self._render("prompt", self._templates[0], fields)

    def response(self, fields: Mapping[str, Any]) -> str:
        """The model's target; the record needs no reward.

        Raises:
          RecordProblem: a field of the template is missing or unusable.
        """
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
                        f"{', '.join(sorted(fields)) or 'none'}"
                    )

    def _render(self, role: str, template: Template, fields: Mapping[str, Any]) -> str:
        text = template.render(self._values(fields, template))
        if set(template.fields) <= {"prompt", "response"}:
            return text
        return _text(text, role, f"as {role}_template makes it")

    def _values(
        self, fields: Mapping[str, Any], template: Template
    ) -> dict[str, Any]:
        used = template.fields
        values = {name: fields[name] for name in used if name in fields}
        for alias, name in (
            ("prompt", self.prompt_field),
            ("response", self.response_field),
        ):
            if alias in used:
                where = "" if name == alias else f"field '{name}'"
                values[alias] = _text(self._required(fields, name), alias, where)
        return values

    def _required(self, fields: Mapping[str, Any], name: str) -> Any:
        if name not in fields:
            raise RecordProblem(
                "missing_field",
                f"field '{name}' is missing; the record has "
                + (", ".join(f"'{shown(f)}'" for f in sorted(fields)[:12]) or "none"),
            )
        return fields[name]


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
