"""What seqio's evaluator reports of feedback tasks."""

import json
import sys
import types

import numpy as np
import pytest
import seqio

from dro_jax.data import task_metrics
from dro_jax.data.converter import FeedbackFeatureConverter
from dro_jax.data.cut_metric import CutMetric
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.rewards import Length
from dro_jax.rewards.interface import Scores

FEATURES = {"targets": types.SimpleNamespace(vocabulary=seqio.ByteVocabulary())}

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


# Two responses were logged to the first prompt.
SEVERAL = [
    {"prompt": "a", "response": "bad", "reward": -1.0},
    {"prompt": "a", "response": "good", "reward": 1.0},
    {"prompt": "b", "response": "fair", "reward": 0.0},
]


def test_the_better_of_a_prompts_responses_should_be_the_likelier():
    metrics = task_metrics.logprob_metrics(SEVERAL, [-2.0, -1.0, -9.0])
    assert metrics["reward_logprob_pair_accuracy"] == 1.0
    metrics = task_metrics.logprob_metrics(SEVERAL, [-1.0, -2.0, -9.0])
    assert metrics["reward_logprob_pair_accuracy"] == 0.0


def test_texts_are_counted_once_a_prompt():
    # The same answer to the second record of one prompt is no lack of diversity.
    found = task_metrics.text_metrics(SEVERAL, ["x y z", "x y z", " "])
    assert found == {"distinct_1": 1, "distinct_2": 1, "distinct_3": 1, "empty": 0.5}
    found = task_metrics.text_metrics(SEVERAL, ["x y", "", "x y x y"])
    assert found["distinct_1"] == 2 / 6
    assert found["distinct_2"] == 2 / 4


def test_several_samples_of_a_record_all_count():
    given = [["x", "y z"], ["x", "y z"], ["", "w"]]
    assert task_metrics.text_metrics(SEVERAL, given)["empty"] == 0.25
    assert task_metrics.length_metrics(SEVERAL, given)["response_words"] == 7 / 6
    metric = task_metrics.true_reward(lambda prompt, text: float(text == "w"))
    assert metric(SEVERAL, given)["true_reward"] == 1 / 6


LOGGED = [
    {"prompt": "a", "response": "the worse of both", "reward": -1.0},
    {"prompt": "a", "response": "a reply of five words", "reward": 1.0},
    {"prompt": "b", "response": "Yes, it will be there.", "reward": 0.0},
]


def test_responses_are_compared_with_the_best_logged():
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    same = ["a reply of five words", "not read", "Yes, it will be there."]
    found = task_metrics.overlap_metrics(LOGGED, same)
    assert found == {"bleu": pytest.approx(100), "rouge_l": 1.0}
    worse = task_metrics.overlap_metrics(LOGGED, ["the worse of both"] * 3)
    assert worse["bleu"] < 10
    # By hand: "of" is all that four words share with five; with the other, nothing.
    assert worse["rouge_l"] == pytest.approx((2 / (4 + 5) + 0) / 2)


def test_what_is_not_installed_is_told_and_left_out(monkeypatch, capsys):
    for name in ("sacrebleu.metrics.bleu", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    assert task_metrics.overlap_metrics(LOGGED, ["x", "y", "z"]) == {}
    assert "sacrebleu is not installed" in capsys.readouterr().err


def test_any_reward_is_reported_with_its_parts():
    def reward(prompts, responses):
        assert prompts == ["a", "b"]
        lengths = np.array([float(len(text)) for text in responses])
        return Scores(lengths, {"half": lengths / 2})

    reward.name = "letters"
    found = task_metrics.reward_metrics(reward)(SEVERAL, ["xx", "", "yyyy"])
    assert found == {"reward/letters": 3.0, "reward/letters/half": 1.5}


def test_the_share_of_cut_responses_comes_from_the_tokens():
    examples = [{"inputs": np.array([7, 1])}] * 2 + [{"inputs": np.array([8, 1])}]
    tokens = np.array([[5, 1, 0], [5, 6, 7], [5, 6, 7]])
    metric = CutMetric().from_model_output(examples, tokens, FEATURES)
    assert metric.compute() == {"cut": 0.5}
    metric = CutMetric.from_model_output(examples, tokens[:, None], FEATURES)
    assert metric.compute() == {"cut": 0.5}


def test_the_evaluator_runs_them_all(tmp_path):
    """As T5X does, with a model that repeats the prompt."""
    path = tmp_path / "log.jsonl"
    records = [
        {"prompt": t["prompt"], "response": t["response"], "reward": t["reward"]}
        for t in SEVERAL
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    register_feedback_task(
        "evaluated_by_seqio",
        JsonlSource({"validation": path}),
        vocabulary="byte",
        rewards=Length(),
        reward_fn=lambda prompt, response: float(prompt == response),
    )
    evaluator = seqio.Evaluator(
        "evaluated_by_seqio",
        feature_converter=FeedbackFeatureConverter(pack=False),
        eval_split="validation",
        sequence_length={"inputs": 4, "targets": 8},
    )

    def repeat(dataset):
        rows = [
            (i, ex["encoder_input_tokens"]) for i, ex in dataset.as_numpy_iterator()
        ]
        # The second prompt's copy has no end.
        return [(i, np.where((x == 1) & (i == 2), 3, x)) for i, x in rows]

    metrics, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=repeat,
        score_fn=lambda dataset: [
            (i, -1.0 - i) for i, _ in dataset.as_numpy_iterator()
        ],
    )
    found = metrics.result()["evaluated_by_seqio"]
    assert found["cut"] == 0.5 and found["empty"] == 0.0
    assert found["reward/length"] == 1.0
    assert found["true_reward"] == pytest.approx(2 / 3)  # no end, another character
    assert found["reward_logprob_pair_accuracy"] == 0.0
    evaluator.close()


def test_the_true_reward_is_of_the_predictions():
    metric = task_metrics.true_reward(lambda prompt, text: float(text == prompt))
    values = metric(TARGETS, ["a", "b", "x"])
    assert values["true_reward"] == pytest.approx(2 / 3)
    assert len(task_metrics.default_metrics(None)) == 4
    assert len(task_metrics.default_metrics(lambda p, r: 0.0)) == 5
    assert len(task_metrics.default_metrics(None, [Length(), Length()])) == 6
