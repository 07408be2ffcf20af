"""Options of the compilers that make a step."""

import pytest

from dro_jax.errors import ConfigError
from dro_jax.training.compiler_options import check_compiler_options, options_for
from dro_jax.training.sharding import MeshConfig

REPLICATED = MeshConfig(data=2).build().replicated


def test_a_platform_gets_its_own_options():
    given = {"cpu": {"xla_cpu_enable_fast_math": True}, "tpu": {"xla_tpu_no_such": 1}}
    assert options_for(REPLICATED, given) == {"xla_cpu_enable_fast_math": True}
    assert options_for(REPLICATED, {"tpu": {"xla_tpu_no_such": 1}}) is None
    assert options_for(REPLICATED, {"cpu": {}}) is None
    assert options_for(REPLICATED, None) is None


@pytest.mark.parametrize(
    ("option", "value"), [("xla_no_such", True), ("xla_cpu_enable_fast_math", "maybe")]
)
def test_what_the_compiler_does_not_take_is_named(option, value):
    with pytest.raises(ConfigError, match=f"of cpu does not take {option} = {value!r}"):
        options_for(REPLICATED, {"cpu": {option: value}})


@pytest.mark.parametrize(
    "given", [{"xla_x": True}, [("tpu", {})], {"tpu": True}, {"tpu": {"xla_x": None}}]
)
def test_options_are_given_by_platform(given):
    with pytest.raises(ConfigError, match="by platform, {'tpu': {'xla_…': True}}"):
        check_compiler_options(given)
