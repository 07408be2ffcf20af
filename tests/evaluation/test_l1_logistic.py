import json
import pathlib

import numpy as np
import pytest

from dro_jax.evaluation.l1_logistic import cross_entropy, fit

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "alpaca_eval"
CASES = json.loads((GOLDEN / "length_controlled.json").read_text("utf-8"))

# scikit-learn 1.9.1's LogisticRegression(penalty="l1", solver="liblinear",
# fit_intercept=False, tol=1e-12, max_iter=10**6) on each pair twice, labelled 1 with
# weight y and 0 with weight 1 - y; the features are 1 and tanh(Δ/sd(Δ)).
SKLEARN = {
    "longer is liked": {
        0.05: (0.387025485, 0.356765622),
        1.0: (0.567009856, 1.361183678),
        1000.0: (0.581394047, 1.430521387),
    },
    "ties": {
        0.05: (0.0, 0.0),
        1.0: (-0.301591872, 0.641326617),
        1000.0: (-0.336601719, 0.707778361),
    },
    "probabilities": {
        0.05: (0.0, 1.276828905),
        1.0: (0.014947833, 2.037564452),
        1000.0: (0.017396742, 2.086257709),
    },
    "nearly all won": {
        0.05: (0.619039208, 0.0),
        1.0: (3.36729583, 0.0),
        1000.0: (6.238624849, -2.629530544),
    },
}


def features_of(name):
    (case,) = (case for case in CASES if case["name"] == name)
    differences = np.subtract(case["first"], case["second"])
    wins = np.array(case["preferences"])[None]
    return np.tanh(differences / differences.std(ddof=1)), wins, 1 - wins


@pytest.mark.parametrize("name", SKLEARN)
def test_coefficients_are_sklearns(name):
    data = features_of(name)
    for strength, coefficients in SKLEARN[name].items():
        found = fit(*data, strength, start=np.zeros((1, 2)))
        np.testing.assert_allclose(found[0], coefficients, atol=2e-6)


def test_the_constant_alone_by_hand():
    # One pair won of one, feature 0: w + C·log(1 + exp(-w)) is least at
    # 1 = C·σ(-w), w = log(C - 1) for C > 2, and at 0 below.
    one = np.zeros(1), np.ones((1, 1)), np.zeros((1, 1))
    for strength, weight in [
        (1.5, 0.0),
        (2.0, 0.0),
        (3.0, np.log(2.0)),
        (1e4, 9.21024),
    ]:
        found = fit(*one, strength, start=np.zeros((1, 2)))
        np.testing.assert_allclose(found, [[weight, 0.0]], atol=1e-5)


def test_a_batch_is_its_members():
    feature = np.linspace(-1, 1, 6)
    rng = np.random.default_rng(0)
    won, lost = rng.integers(0, 4, (2, 5, 6)).astype(float)
    together = fit(feature, won, lost, 2.0, start=np.zeros((5, 2)))
    for row in range(5):
        alone = fit(feature, won[[row]], lost[[row]], 2.0, start=np.ones((1, 2)))
        np.testing.assert_allclose(together[[row]], alone, atol=1e-9)


def test_no_neighbour_is_better():
    data = features_of("ties")
    found = fit(*data, 5.0, start=np.zeros((1, 2)))

    def objective(w):
        return np.abs(w).sum() + 5.0 * cross_entropy(w, *data)[0]

    for step in [(1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3), (1e-3, 1e-3)]:
        assert objective(found + step) > objective(found)


def test_a_feature_like_the_constant_has_a_minimum():
    # |w₀| + |w₁| + 2C·σ-loss of w₀ - w₁ alone: only their difference is determined,
    # 2C·σ(w₀ - w₁) = 1.
    feature = np.array([-1.0])
    found = fit(
        feature, np.zeros((1, 1)), np.full((1, 1), 2.0), 3.0, start=np.zeros((1, 2))
    )
    assert found[0, 0] - found[0, 1] == pytest.approx(np.log(1 / 5), abs=1e-7)


def test_cross_entropy_by_hand():
    # z = 1 + 2·0.5 = 2, won 3 and lost 1.
    loss = cross_entropy(
        np.array([[1.0, 2.0]]), np.array([0.5]), np.array([[3.0]]), np.array([[1.0]])
    )
    expected = 3 * np.log(1 + np.exp(-2.0)) + np.log(1 + np.exp(2.0))
    np.testing.assert_allclose(loss, [expected], rtol=1e-14)
