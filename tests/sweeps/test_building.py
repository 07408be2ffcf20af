import pytest

from dro_jax.errors import ConfigError
from dro_jax.sweeps.building import built_on
from dro_jax.sweeps.interface import PlannedTrial


def run(label, **values):
    return PlannedTrial("reference", label, label, values, (), ())


def test_the_run_is_the_one_that_agrees_where_both_have_an_axis():
    earlier = [run("0", RANDOM_SEED=0), run("1", RANDOM_SEED=1)]
    values = {"objective": "KTO", "RANDOM_SEED": 1}
    assert built_on("KTO", values, "reference", earlier) is earlier[1]
    assert built_on("KTO", values, "reference", [run("only", DATA="a")]).key == "only"


def test_several_that_agree_are_named_with_the_axis_that_tells_them_apart():
    earlier = [run("small", SIZE="s"), run("large", SIZE="l")]
    with pytest.raises(ConfigError, match=r"any of 2 .*small, large.* axis SIZE too"):
        built_on("KTO", {"objective": "KTO"}, "reference", earlier)


def test_none_that_agrees_is_an_error():
    with pytest.raises(ConfigError, match="KTO: no run of the stage reference agrees"):
        built_on("KTO", {"SIZE": "xl"}, "reference", [run("small", SIZE="s")])
    # 1 and True are equal in Python, and not to gin.
    with pytest.raises(ConfigError, match="no run"):
        built_on("KTO", {"PACK": True}, "reference", [run("packed", PACK=1)])
