"""What a run is worth to a search, by its evaluation or its log."""

import math

import pytest

from dro_jax.errors import ConfigError
from dro_jax.sweeps.search_metric import value_of

LINES = [{"step": 5, "eval/loss": 2.0}, {"step": 10, "eval/loss": 1.0}, {"step": 12}]


def test_the_last_value_of_the_log_or_the_evaluations():
    assert value_of("eval/loss", {"reward": 0.5}, LINES) == 1.0
    assert value_of("reward", {"reward": 0.5}, LINES) == 0.5


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_finite_is_no_value(value, capsys):
    assert value_of("loss", {}, [{"step": 1, "loss": value}]) is None
    assert "its loss is not finite" in capsys.readouterr().err


def test_a_name_that_is_not_there():
    with pytest.raises(
        ConfigError, match=r"'evalloss' .*mean eval/loss\?\); there are eval/loss, kl$"
    ):
        value_of("evalloss", {"kl": 1.0}, LINES)
