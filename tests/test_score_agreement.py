"""Scores against rewards: by hand, and by SciPy and a double loop."""

import numpy as np
import pytest
from scipy import stats

from dro_jax.score_agreement import agreement


def test_by_hand():
    # Prompt 1: rewards 3, 1, 1, scores 5, 5, 0: of two pairs one is right, one a tie.
    # Prompt 2: one pair, wrong. Prompt 3: equal rewards, no pair. 1.5 of 3.
    rewards = np.array([3.0, 1, 1, 0, 1, 2, 2])
    scores = np.array([5.0, 5, 0, 9, 8, 1, 2])
    found = agreement(scores, rewards, np.array([1, 1, 1, 2, 2, 3, 3]))
    assert (found.pair_accuracy, found.num_pairs, found.count) == (0.5, 3, 7)


@pytest.mark.parametrize("seed", range(3))
def test_by_a_double_loop_and_by_scipy(seed):
    rng = np.random.default_rng(seed)
    rewards = rng.integers(0, 4, 60).astype(np.float32)
    scores = np.round(rewards + rng.normal(size=60), 2 - seed)
    prompts = rng.integers(0, 9, 60).astype(np.uint64)
    found = agreement(scores, rewards, prompts)
    right = pairs = 0.0
    for i in range(60):
        for j in range(60):
            if prompts[i] == prompts[j] and rewards[i] > rewards[j]:
                pairs += 1
                right += np.heaviside(scores[i] - scores[j], 0.5)
    assert found.num_pairs == pairs > 100
    np.testing.assert_allclose(found.pair_accuracy, right / pairs)
    np.testing.assert_allclose(found.pearson, stats.pearsonr(scores, rewards)[0])
    np.testing.assert_allclose(found.spearman, stats.spearmanr(scores, rewards)[0])


def test_what_cannot_be_told_is_not_a_number():
    found = agreement(np.ones(3), np.arange(3.0), np.arange(3))
    assert np.isnan([found.pearson, found.spearman, found.pair_accuracy]).all()
    assert found.num_pairs == 0
