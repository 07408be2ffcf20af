"""Options of the compilers that make a step."""

import jax
import optax
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training import mesh_steps
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


def test_the_step_is_compiled_with_them(monkeypatch):
    """One that no compiler takes comes to the step's, where nobody looks before."""
    monkeypatch.setattr(mesh_steps, "options_for", lambda _, options: options["cpu"])
    steps = mesh_steps.MeshSteps(
        FeedbackModel(network=small.NETWORK, objective=NLL()),
        optax.sgd(0.1),
        MeshConfig(data=1).build(),
        next(ArrayDataset().batches()),
        key=jax.random.key(0),
        compiler_options={"cpu": {"xla_no_such": True}},
    )
    lowered = steps.lower_train(frozen_copy=False)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such"):
        lowered.compile()
