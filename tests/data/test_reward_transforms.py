"""Transforms against their formulas, and composed in their order."""

import math

import numpy as np
import pytest

from dro_jax.data.reward_transforms import Clip, Normalize, Sigmoid, transform_chain
from dro_jax.errors import ConfigError, DataError

TRAIN = np.array([1.0, 2.0, 3.0, 6.0])


def _apply(spec, values, train=TRAIN):
    return transform_chain(spec).fit(np.array(train))(np.array(values, np.float64))


def test_none_changes_nothing():
    np.testing.assert_array_equal(_apply("none", [-5.0, 7.25]), [-5.0, 7.25])


def test_normalize_uses_the_train_splits_population_moments():
    # By hand: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5.
    expected = [(0 - 3) / math.sqrt(3.5), (10 - 3) / math.sqrt(3.5)]
    np.testing.assert_allclose(_apply("normalize", [0, 10]), expected, rtol=1e-15)
    normalized = _apply("normalize", TRAIN)
    np.testing.assert_allclose(
        [normalized.mean(), normalized.var()], [0, 1], atol=1e-15
    )


def test_sigmoid_is_exact_in_the_tails_and_never_overflows():
    expected = [1 / (1 + math.exp(-x)) for x in (-2.0, 0.0, 3.0)]
    np.testing.assert_allclose(_apply("sigmoid", [-2, 0, 3]), expected, rtol=1e-14)
    np.testing.assert_array_equal(_apply("sigmoid", [-1e30, 1e30]), [0, 1])


def test_clip():
    np.testing.assert_array_equal(_apply("clip(-1, 2.5)", [-3, 1, 9]), [-1, 1, 2.5])
    np.testing.assert_array_equal(_apply(Clip(0, 1), [-3, 0.5, 9]), [0, 0.5, 1])


def test_transforms_compose_in_order_each_fitted_on_the_one_before():
    # By hand: clip to [0, 3] makes the train split 1, 2, 3, 3: mean 9/4, variance 11/16.
    first = _apply(("clip(0, 3)", "normalize"), [6])
    np.testing.assert_allclose(first, (3 - 9 / 4) / math.sqrt(11 / 16), rtol=1e-14)
    last = _apply(("normalize", "clip(0, 1)"), [6])
    np.testing.assert_allclose(last, [1.0])


@pytest.mark.parametrize("train", [[2.0, 2.0], [0.1] * 3, [5.0], [1e8 + 0.1] * 7])
def test_normalize_refuses_rewards_that_are_all_equal(train):
    with pytest.raises(DataError, match="all.*divide by zero.*reward_field"):
        _apply("normalize", [1], train)


def test_normalize_keeps_a_small_spread_around_a_large_mean():
    train = 1e6 + np.array([-1e-3, 1e-3])
    np.testing.assert_allclose(_apply("normalize", train, train), [-1, 1], rtol=1e-6)


@pytest.mark.parametrize(
    "spec", ["zscore", "clip", "clip(1)", "clip(a, b)", 3.0, ("x",)]
)
def test_unknown_transforms(spec):
    with pytest.raises(ConfigError, match="unknown"):
        transform_chain(spec)


def test_clip_bounds_must_be_in_order():
    with pytest.raises(ConfigError, match="lower bound first"):
        transform_chain("clip(2, 1)")


def test_names():
    chain = transform_chain((Normalize(), Sigmoid(), "clip(0.25, 1)", "none"))
    assert str(chain) == "normalize then sigmoid then clip(0.25, 1)"
    assert str(transform_chain("none")) == "none"
