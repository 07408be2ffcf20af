"""What seqio's evaluator reports of feedback tasks."""

import numpy as np
import pytest

from dro_jax.data import task_metrics

TARGETS = [
    {"prompt": "a", "response": "one two three", "reward": 1.0},
    {"prompt": "b", "response": "one", "reward": 0.0},
    {"prompt": "c", "response": "one two", "reward": -1.0},
]


def test_a_target_is_its_trajectory():
    example = {
        "inputs_pretokenized": np.array("où ?".encode(), object),
        "targets_pretokenized": b"ici",
        "reward": np.array([0.5], np.float32),
    }
    assert task_metrics.postprocess("text", example, is_target=True) == {
        "prompt": "où ?",
        "response": "ici",
        "reward": 0.5,
    }
    assert task_metrics.postprocess("text", example, is_target=False) == "text"


def test_logprobs_go_with_rewards():
    scores = [-1.0, -2.0, -3.0]
    metrics = task_metrics.logprob_metrics(TARGETS, scores)
    assert metrics["logps/policy"] == -2.0
    assert metrics["reward_logprob_correlation"] == pytest.approx(1.0)
    opposed = task_metrics.logprob_metrics(TARGETS, scores[::-1])
    assert opposed["reward_logprob_correlation"] == pytest.approx(-1.0)


def test_what_does_not_vary_has_no_correlation():
    metrics = task_metrics.logprob_metrics(TARGETS, [-1.0, -1.0, -1.0])
    assert metrics == {"logps/policy": -1.0}
    # The mean of three 0.1 is not 0.1, so their std is not 0.
    same = [target | {"reward": 0.1} for target in TARGETS]
    assert np.std([0.1] * 3) > 0
    metrics = task_metrics.logprob_metrics(same, [-1.0, -2.0, -3.0])
    assert metrics == {"logps/policy": -2.0}


def test_lengths_are_in_words():
    metrics = task_metrics.length_metrics(TARGETS, ["x", "x y z", "x y"])
    assert metrics == {"response_words": 2.0, "logged_response_words": 2.0}


def test_the_true_reward_is_of_the_predictions():
    metric = task_metrics.true_reward(lambda prompt, text: float(text == prompt))
    values = metric(TARGETS, ["a", "b", "x"])
    assert values["true_reward"] == pytest.approx(2 / 3)
    assert len(task_metrics.default_metrics(None)) == 2
    assert len(task_metrics.default_metrics(lambda p, r: 0.0)) == 3
