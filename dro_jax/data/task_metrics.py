"""What `seqio.Evaluator`, and so `t5x.eval`, reports of every feedback task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

RewardFn = Callable[[str, str], float]
Metric = dict[str, float]


def postprocess(
    output: Any, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> Any:
    """seqio's postprocessing: a target is the whole trajectory, a prediction its text.

    Args:
      output: the decoded text.
      example: the task's features of the record.
      is_target: whether `output` is the logged response.
    """
    if not is_target:
        return output
    return {
        "prompt": _text(example["inputs_pretokenized"]),
        "response": _text(example["targets_pretokenized"]),
        "reward": float(np.asarray(example["reward"]).reshape(-1)[0]),
    }


def logprob_metrics(targets: Sequence[Mapping[str, Any]], scores: Any) -> Metric:
    """How the model's log-probabilities of the logged responses go with their rewards.

    Args:
      targets: trajectories, as `postprocess` gives them.
      scores: log π(y|x) of each.

    Returns:
      `logps/policy`, their mean in nats; `reward_logprob_correlation`, Pearson's, where
      both vary.
    """
    logprobs = np.asarray(scores, np.float64).reshape(-1)
    rewards = np.array([target["reward"] for target in targets])
    metrics = {"logps/policy": float(logprobs.mean())}
    # Rounding can leave a tiny std where all are one number.
    if np.ptp(logprobs) > 0 and np.ptp(rewards) > 0:
        correlation = np.corrcoef(logprobs, rewards)[0, 1]
        metrics["reward_logprob_correlation"] = float(correlation)
    return metrics


def length_metrics(targets: Sequence[Any], predictions: Sequence[str]) -> Metric:
    """The mean number of words of the model's own responses, and of the logged ones."""
    logged = [target["response"] for target in targets]
    return {
        "response_words": _mean_words(predictions),
        "logged_response_words": _mean_words(logged),
    }


def true_reward(reward_fn: RewardFn) -> Callable[..., Metric]:
    """The metric of tasks whose true reward a program knows.

    Args:
      reward_fn: (prompt, response) to its reward.
    """

    def true_reward_metrics(
        targets: Sequence[Mapping[str, Any]], predictions: Sequence[str]
    ) -> Metric:
        rewards = [
            reward_fn(target["prompt"], prediction)
            for target, prediction in zip(targets, predictions, strict=True)
        ]
        return {"true_reward": float(np.mean(rewards))}

    return true_reward_metrics


def default_metrics(reward_fn: RewardFn | None) -> list[Callable[..., Metric]]:
    """The metrics of a task that names none."""
    metrics: list[Callable[..., Metric]] = [logprob_metrics, length_metrics]
    return metrics if reward_fn is None else [*metrics, true_reward(reward_fn)]


def _mean_words(texts: Sequence[str]) -> float:
    return float(np.mean([len(text.split()) for text in texts]))


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray) else value
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
