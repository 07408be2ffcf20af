"""Sampled responses to the figures that `dro_jax.evaluation.figures` lists."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.estimates import estimate_of, mean_estimates
from dro_jax.evaluation.evaluated_run import Estimate, SampledResponse
from dro_jax.evaluation.intervals import cluster_totals
from dro_jax.evaluation.self_bleu import self_bleu
from dro_jax.evaluation.value_calibration import (
    calibration_table,
    correlation,
    explained_variance,
    moments,
)
from dro_jax.reference_overlap import (
    bleu_statistics,
    corpus_bleu,
    rouge_l,
)
from dro_jax.text_metrics import distinct_n

NOT_FROM_POLICY = (
    "responses were not sampled at temperature 1 from all tokens, so that their "
    "log-ratios do not estimate KL(π‖π_ref)"
)


def measured(
    responses: Sequence[SampledResponse],
    *,
    sampled_from_policy: bool,
    num_resamples: int,
    seed: int,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """All figures and tables; :func:`dro_jax.evaluation.figures.figures_of` tells more."""
    if not responses:
        raise DataError("there are no responses, so that there is nothing to measure")
    draws = {"num_resamples": num_resamples, "seed": seed}
    omitted: dict[str, str] = {}
    tables: dict[str, Any] = {"omitted": omitted}
    rewards = _rewards(responses)
    columns = {**rewards, **_shapes(responses)}
    if sampled_from_policy:
        columns |= _log_ratios(responses, omitted)
    else:
        omitted["kl"] = NOT_FROM_POLICY
    figures = mean_estimates(columns, _prompts(responses), **draws)
    figures |= _diversity(responses, omitted)
    figures |= _overlap(responses, tables, **draws)
    if "reward" in rewards:
        figures |= _calibration(responses, rewards["reward"], tables, **draws)
    return figures, tables


def _prompts(responses: Sequence[SampledResponse]) -> list[str]:
    return [one.prompt_id for one in responses]


def _rewards(responses: Sequence[SampledResponse]) -> dict[str, np.ndarray]:
    """`reward`, each reward and each of its parts, ``[N]``."""
    rows = [_named_rewards(one) for one in responses]
    for one, row in zip(responses, rows, strict=True):
        if row.keys() != rows[0].keys():
            raise DataError(
                f"responses have different rewards: {', '.join(rows[0]) or 'none'} for "
                f"prompt {responses[0].prompt_id}, {', '.join(row) or 'none'} for prompt "
                f"{one.prompt_id}"
            )
    return {name: np.array([row[name] for row in rows], float) for name in rows[0]}


def _named_rewards(response: SampledResponse) -> dict[str, float]:
    named = {}
    for name, total in response.rewards.items():
        named.setdefault("reward", total)
        named[f"reward/{name}"] = total
        for part, number in response.reward_parts.get(name, {}).items():
            named[f"reward/{name}/{part}"] = number
    return named


def _shapes(responses: Sequence[SampledResponse]) -> dict[str, np.ndarray]:
    """Lengths, and what was cut or says nothing, ``[N]``."""
    return {
        "length": np.array([len(one.response.split()) for one in responses], float),
        "tokens": np.array([one.tokens for one in responses], float),
        "cut": np.array([one.cut for one in responses], float),
        "empty": np.array([one.empty for one in responses], float),
    }


def _log_ratios(
    responses: Sequence[SampledResponse], omitted: dict[str, str]
) -> dict[str, np.ndarray]:
    """log π(y|x) − log π_ref(y|x), nats, ``[N]``; nothing without a reference."""
    reference = np.array(
        [
            math.nan if one.reference_logprob is None else one.reference_logprob
            for one in responses
        ]
    )
    missing = sum(one.reference_logprob is None for one in responses)
    if missing:
        omitted["kl"] = (
            f"{missing} of {len(responses)} responses have no log-probability of a "
            "reference policy"
        )
        return {}
    return {"kl": np.array([one.logprob for one in responses]) - reference}


def _diversity(
    responses: Sequence[SampledResponse], omitted: dict[str, str]
) -> dict[str, Estimate]:
    texts = [one.response for one in responses]
    figures = {f"distinct_{n}": Estimate(distinct_n(texts, n)) for n in (1, 2, 3)}
    if sum(not one.empty for one in responses) < 2:
        omitted["self_bleu"] = "fewer than two responses have words"
        return figures
    return figures | {"self_bleu": Estimate(self_bleu(texts))}


def _overlap(
    responses: Sequence[SampledResponse],
    tables: dict[str, Any],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """BLEU and ROUGE-L of the responses to prompts with references."""
    having = [one for one in responses if one.references]
    if not having:
        return {}
    tables["with_references"] = len(having)
    draws = {"num_resamples": num_resamples, "seed": seed}
    texts = [one.response for one in having]
    references = [one.references for one in having]
    prompts = _prompts(having)
    figures: dict[str, Estimate] = {}
    try:
        sums = cluster_totals(bleu_statistics(texts, references), prompts)
        figures["bleu"] = estimate_of(corpus_bleu, sums[:, :-1], **draws)
    except ConfigError as error:
        tables["omitted"]["bleu"] = str(error)
    try:
        column = {"rouge_l": rouge_l(texts, references)}
        figures |= mean_estimates(column, prompts, **draws)
    except ConfigError as error:
        tables["omitted"]["rouge_l"] = str(error)
    return figures


def _calibration(
    responses: Sequence[SampledResponse],
    rewards: np.ndarray,
    tables: dict[str, Any],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """How V(x) meets the first reward, where the responses have values."""
    missing = sum(one.value is None for one in responses)
    if missing == len(responses):
        return {}
    if missing:
        tables["omitted"]["value"] = (
            f"{missing} of {len(responses)} responses have no V(x)"
        )
        return {}
    values = np.array([one.value for one in responses], float)
    draws = {"num_resamples": num_resamples, "seed": seed}
    prompts = _prompts(responses)
    figures = mean_estimates({"value/bias": values - rewards}, prompts, **draws)
    tables["value_calibration"] = calibration_table(values, rewards)
    sums = moments(values, rewards, prompts)
    for name, statistic, reason in (
        ("value/explained_variance", explained_variance, "all rewards are the same"),
        ("value/correlation", correlation, "all rewards, or all V(x), are the same"),
    ):
        estimate = estimate_of(statistic, sums, **draws)
        if estimate is None:
            tables["omitted"][name] = reason
        else:
            figures[name] = estimate
    return figures
