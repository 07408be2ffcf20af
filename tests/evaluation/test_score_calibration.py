"""Calibration of scores: by hand, and where scores are the truth."""

import io
import json

import numpy as np

from dro_jax.evaluation import calibration_picture
from dro_jax.evaluation.score_calibration import calibration


def test_by_hand():
    # One prompt of three: gaps ln 3, 0 and ln 3, of which the last is wrong.
    scores = np.array([np.log(3), 0.0, 0.0])
    found = calibration(scores, np.array([2.0, 1.0, 3.0]), np.zeros(3))
    tie, sure = found.preferences
    assert (tie.count, tie.low, tie.share_right, tie.mean_probability) == (
        1,
        0.5,
        0.5,
        0.5,
    )
    assert (sure.count, sure.low, sure.high, sure.share_right) == (2, 0.75, 0.8, 0.5)
    np.testing.assert_allclose(sure.mean_probability, 0.75)
    np.testing.assert_allclose(found.preference_error, 2 * 0.25 / 3)
    first, *_, last = found.scores
    assert [one.count for one in found.scores] == [1, 1, 1]
    assert first.mean_score == 0 and last.mean_reward == 2


def test_odds_that_are_true_are_calibrated():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20000, 2))
    first = rng.random(20000) < 1 / (1 + np.exp(scores[:, 1] - scores[:, 0]))
    rewards = np.stack([first, ~first], 1).astype(float)
    prompts = np.repeat(np.arange(20000), 2)
    found = calibration(scores.reshape(-1), rewards.reshape(-1), prompts)
    assert found.agreement.num_pairs == 20000
    assert found.preference_error < 0.01
    for one in found.preferences[:8]:
        assert abs(one.share_right - one.mean_probability) < 0.05
    doubled = calibration(3 * scores.reshape(-1), rewards.reshape(-1), prompts)
    assert doubled.preference_error > 0.1
    assert np.isclose(doubled.agreement.pearson, found.agreement.pearson)


def test_without_pairs_it_is_written_and_drawn_too():
    found = calibration(np.arange(4.0), np.array([0.0, 1, 1, 2]), np.arange(4))
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["preference_error"] is None and written["preferences"] == []
    assert written["scores"][3]["mean_reward"] == 2
    file = io.BytesIO()
    calibration_picture.draw(found, file, title="none")
    assert file.getvalue().startswith(b"\x89PNG")
