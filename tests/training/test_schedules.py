import numpy as np
import pytest

from dro_jax.errors import ConfigError
from dro_jax.training.schedules import learning_rate_schedule


def rates(steps, **settings):
    schedule = learning_rate_schedule(**settings)
    return [float(schedule(step)) for step in steps]


def test_warmup_is_linear_and_never_zero():
    actual = rates(range(6), learning_rate=0.4, warmup_steps=4)
    np.testing.assert_allclose(actual, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-6)


def test_linear_decay_ends_at_the_final_fraction():
    actual = rates(
        [0, 2, 7, 12, 20],
        learning_rate=1.0,
        warmup_steps=2,
        decay="linear",
        total_steps=12,
        final_fraction=0.5,
    )
    np.testing.assert_allclose(actual, [0.5, 1.0, 0.75, 0.5, 0.5], rtol=1e-6)


def test_cosine_decay_is_half_way_at_half_time():
    actual = rates([0, 5, 10], learning_rate=2.0, decay="cosine", total_steps=10)
    np.testing.assert_allclose(actual, [2.0, 1.0, 0.0], atol=1e-6)


def test_rsqrt_halves_after_four_warmups():
    actual = rates([10, 40], learning_rate=1.0, warmup_steps=10, decay="rsqrt")
    np.testing.assert_allclose(actual, [1.0, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1.0}, "must not be negative"),
        ({"learning_rate": 1.0, "warmup_steps": -1}, "WARMUP_STEPS.* got -1 and 0"),
        (
            {"learning_rate": 1.0, "decay": "linear", "total_steps": 9}
            | {"final_fraction": -0.5},
            "final_fraction must not be negative",
        ),
        ({"learning_rate": 1.0, "decay": "step"}, "decay = 'step' is unknown"),
        ({"learning_rate": 1.0, "decay": "linear"}, "larger than warmup_steps"),
        ({"learning_rate": 1.0, "final_fraction": 0.1}, "final_fraction has no effect"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        learning_rate_schedule(**settings)
