"""What `seqio.Evaluator`, and so `t5x.eval`, reports of every feedback task.

Figures of generated text are those of `dro-jax evaluate`, by its names, over the first
record of each prompt: a log may have many responses to one, and the same answer to each
would pass for a lack of diversity.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.messages import note
from dro_jax.reference_overlap import bleu_statistics, corpus_bleu, rouge_l
from dro_jax.score_agreement import agreement
from dro_jax.text_metrics import distinct_n, mean_length

RewardFn = Callable[[str, str], float]
Metric = dict[str, float]
Target = Mapping[str, Any]
# The text of each record; of a model that gives several, a list of each.
Predictions = Sequence[str] | Sequence[Sequence[str]]


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


def logprob_metrics(targets: Sequence[Target], scores: Any) -> Metric:
    """How the model's log-probabilities of the logged responses go with their rewards.

    Args:
      targets: trajectories, as `postprocess` gives them.
      scores: log π(y|x) of each.

    Returns:
      `logps/policy`, their mean in nats; `reward_logprob_correlation`, Pearson's, where
      both vary; `reward_logprob_pair_accuracy`, of pairs of responses to one prompt the
      share of which the better is the likelier, where there are such pairs.
    """
    logprobs = np.asarray(scores, np.float64).reshape(-1)
    rewards = np.array([target["reward"] for target in targets])
    numbers: dict[str, int] = {}
    prompts = [numbers.setdefault(t["prompt"], len(numbers)) for t in targets]
    found = agreement(logprobs, rewards, np.array(prompts))
    metrics = {
        "logps/policy": float(logprobs.mean()),
        "reward_logprob_correlation": found.pearson,
        "reward_logprob_pair_accuracy": found.pair_accuracy,
    }
    return {name: value for name, value in metrics.items() if not np.isnan(value)}


def length_metrics(targets: Sequence[Target], predictions: Predictions) -> Metric:
    """The mean number of words of the model's own responses, and of the logged ones."""
    texts = [text for _, text in _pairs(targets, predictions)]
    return {
        "response_words": mean_length(texts),
        "logged_response_words": mean_length([t["response"] for t in targets]),
    }


def text_metrics(targets: Sequence[Target], predictions: Predictions) -> Metric:
    """Diversity of the model's own responses, and the share that says nothing.

    Returns:
      `distinct_1`, `distinct_2`, `distinct_3`, shares of different words, pairs and
      triples over all responses; `empty`, the share without a word.
    """
    texts = [text for _, text in _of_prompts(targets, predictions)]
    found = {f"distinct_{n}": distinct_n(texts, n) for n in (1, 2, 3)}
    return found | {"empty": float(np.mean([not text.strip() for text in texts]))}


def overlap_metrics(targets: Sequence[Target], predictions: Predictions) -> Metric:
    """How near the model's own responses are to the best that was logged.

    Returns:
      `bleu`, of 100, and `rouge_l`, against the responses to the prompt that have the
      highest reward; nothing of a package that is not installed (the extra `metrics`).
    """
    best: dict[str, list[Target]] = {}
    for target in targets:
        kept = best.setdefault(target["prompt"], [target])
        if target["reward"] > kept[0]["reward"]:
            best[target["prompt"]] = [target]
        elif target["reward"] == kept[0]["reward"]:
            kept.append(target)
    asked, texts = zip(*_of_prompts(targets, predictions), strict=True)
    references = [[one["response"] for one in best[t["prompt"]]] for t in asked]
    found = {}
    try:
        totals = bleu_statistics(texts, references).sum(0, keepdims=True)
        found["bleu"] = float(corpus_bleu(totals)[0])
        found["rouge_l"] = float(rouge_l(texts, references).mean())
    except ConfigError as missing:
        note(str(missing))
    return found


def true_reward(reward_fn: RewardFn) -> Callable[..., Metric]:
    """The metric of tasks whose true reward a program knows.

    Args:
      reward_fn: (prompt, response) to its reward.
    """

    def true_reward_metrics(
        targets: Sequence[Target], predictions: Predictions
    ) -> Metric:
        rewards = [
            reward_fn(target["prompt"], prediction)
            for target, prediction in _pairs(targets, predictions)
        ]
        return {"true_reward": float(np.mean(rewards))}

    return true_reward_metrics


def reward_metrics(reward: Any) -> Callable[..., Metric]:
    """The metric of a reward and its parts, `reward/NAME` and `reward/NAME/PART`.

    Args:
      reward: a `dro_jax.rewards.interface.Reward`.
    """

    def metrics_of_reward(
        targets: Sequence[Target], predictions: Predictions
    ) -> Metric:
        prompts, texts = zip(*_of_prompts(targets, predictions), strict=True)
        scores = reward([target["prompt"] for target in prompts], list(texts))
        name = f"reward/{reward.name}"
        parts = {f"{name}/{part}": own for part, own in scores.parts.items()}
        found = {name: scores.total} | parts
        return {name: float(np.mean(own)) for name, own in found.items()}

    return metrics_of_reward


def default_metrics(
    reward_fn: RewardFn | None, rewards: Any = None
) -> list[Callable[..., Metric]]:
    """The metrics of a task that names none.

    Args:
      reward_fn: the true reward, where a program knows it.
      rewards: one or several more to score the model's responses by; None, none.
    """
    if not isinstance(rewards, Sequence):
        rewards = [] if rewards is None else [rewards]
    metrics: list[Callable[..., Metric]] = [
        logprob_metrics,
        length_metrics,
        text_metrics,
        overlap_metrics,
    ]
    if reward_fn is not None:
        metrics.append(true_reward(reward_fn))
    return metrics + [reward_metrics(reward) for reward in rewards]


def first_of_prompts(prompts: Sequence[Any]) -> list[int]:
    """Places of the first record of each prompt."""
    firsts: dict[Any, int] = {}
    for place, prompt in enumerate(prompts):
        firsts.setdefault(prompt, place)
    return list(firsts.values())


def _of_prompts(
    targets: Sequence[Target], predictions: Predictions
) -> list[tuple[Target, str]]:
    """Responses, each with its target, to the first record of each prompt."""
    places = first_of_prompts([target["prompt"] for target in targets])
    return list(_pairs([targets[i] for i in places], [predictions[i] for i in places]))


def _pairs(
    targets: Sequence[Target], predictions: Predictions
) -> Iterator[tuple[Target, str]]:
    for target, given in zip(targets, predictions, strict=True):
        for text in [given] if isinstance(given, str) else given:
            yield target, text


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray) else value
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
