import gin
import pytest

from dro_jax.cli.gin_text import as_text
from dro_jax.errors import ConfigError


@pytest.mark.parametrize(
    "value",
    [
        1,
        -2.5e-7,
        True,
        None,
        "text",
        'it\'s "so"\\n\n',
        "$reference",
        [],
        (1,),
        (1, "a"),
    ]
    + [{"inputs": 5, "x": [None, ("b",)]}, "@ home", "%", "-1"],
)
def test_gin_reads_the_value_that_was_written(value):
    gin.clear_config()
    gin.parse_config(f"X = {as_text('X', value)}")
    assert gin.query_parameter("X/gin.macro.value") == value
    gin.clear_config()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("@optimizers.adamw()", "@optimizers.adamw()"),
        ("%LEARNING_RATE", "%LEARNING_RATE"),
        (["@a.b", "@ c"], "[@a.b, '@ c']"),
    ],
)
def test_references_are_written_without_quotes(value, text):
    assert as_text("X", value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_gin_cannot_hold_is_refused(value):
    with pytest.raises(ConfigError, match="X = .* cannot be written in gin"):
        as_text("X", value)
