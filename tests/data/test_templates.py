"""Templates render fields and refuse what they cannot."""

import pytest

from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import RecordProblem
from dro_jax.data.templates import Template
from dro_jax.errors import ConfigError


def test_render():
    template = Template("{{{topic}}} {prompt} ({n})", "prompt_template")
    assert template.fields == ("topic", "prompt", "n")
    assert template.render({"topic": "t", "prompt": "a {b}", "n": 2}) == "{t} a {b} (2)"


@pytest.mark.parametrize("value", [None, ["x"], {}])
def test_values_that_are_no_text(value):
    with pytest.raises(RecordProblem, match="'n' of prompt_template is .*, not text"):
        Template("{n}", "prompt_template").render({"n": value})


@pytest.mark.parametrize(
    "text",
    ["{prompt", "prompt}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "x", 3],
)
def test_templates_that_cannot_be_used(text):
    with pytest.raises(ConfigError, match="prompt_template"):
        Template(text, "prompt_template")


def test_response_template_must_hold_the_response():
    with pytest.raises(ConfigError, match=r"does not contain '\{response\}'"):
        RecordFormat(response_template="{prompt}")


def test_a_prompt_template_of_other_fields_needs_no_prompt_field():
    record = RecordFormat(prompt_template="{title}").parse(
        {"title": "t", "response": "r", "reward": 1}
    )
    assert record.prompt == "t"
