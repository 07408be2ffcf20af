import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dro_jax.errors import ConfigError
from dro_jax.training.optimizers import (
    OptimizerConfig,
    adafactor,
    adamw,
    parameter_groups,
)
from dro_jax.training.schedules import learning_rate_schedule

PARAMS = {"encoder": {"a": jnp.ones((2, 3))}, "value": {"head": {"b": jnp.ones(4)}}}


def constant(rate):
    return learning_rate_schedule(learning_rate=rate)


def update(config, grads):
    tx = config.build()
    return tx.update(grads, tx.init(PARAMS), PARAMS)[0]


def test_groups_follow_the_value_subtree():
    assert parameter_groups(PARAMS) == {
        "encoder": {"a": "policy"},
        "value": {"head": {"b": "value"}},
    }


def test_adamw_takes_each_group_at_its_own_rate():
    # By hand: Adam's first step is the sign of the gradient times the rate.
    config = OptimizerConfig(adamw(), constant(0.1), constant(0.3))
    updates = update(config, jax.tree.map(lambda x: 5 * x, PARAMS))
    np.testing.assert_allclose(updates["encoder"]["a"], -0.1, rtol=1e-5)
    np.testing.assert_allclose(updates["value"]["head"]["b"], -0.3, rtol=1e-5)


def test_adafactor_scales_with_the_parameter():
    # By hand: the clipped first update has root mean square 1, the parameter's is 1.
    updates = update(OptimizerConfig(adafactor(), constant(0.01)), PARAMS)
    np.testing.assert_allclose(updates["encoder"]["a"], -0.01, rtol=1e-3)


def test_clipping_is_by_each_groups_own_norm():
    tx = OptimizerConfig(optax.sgd, constant(1.0), None, 1.0).build()
    grads = {
        "encoder": {"a": jnp.full((2, 3), 1e-3)},
        "value": {"head": {"b": jnp.full(4, 50.0)}},
    }
    updates = tx.update(grads, tx.init(PARAMS), PARAMS)[0]
    np.testing.assert_allclose(updates["encoder"]["a"], -1e-3, rtol=1e-6)
    np.testing.assert_allclose(updates["value"]["head"]["b"], -0.5, rtol=1e-6)


@pytest.mark.parametrize("value", [True, False])
def test_rates_to_log(value):
    rates = OptimizerConfig(adamw(), constant(0.1), constant(0.3)).rates(0, value=value)
    assert rates["learning_rate"] == pytest.approx(0.1)
    assert rates.get("learning_rate/value") == (pytest.approx(0.3) if value else None)


@pytest.mark.parametrize("norm", [-1.0, 0.0, float("nan")])
def test_a_norm_that_turns_gradients_round_is_refused(norm):
    with pytest.raises(ConfigError, match="MAX_GRAD_NORM. must be above 0"):
        OptimizerConfig(adamw(), optax.constant_schedule(1.0), max_grad_norm=norm)
