"""Sampled responses to the figures that `dro_jax.evaluation.figures` lists."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate, SampledResponse
from dro_jax.evaluation.intervals import (
    bootstrap_totals,
    cluster_totals,
    clustered_standard_error,
    percentile_interval,
)
from dro_jax.evaluation.text_metrics import distinct_n

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
    omitted: dict[str, str] = {}
    columns = {**_rewards(responses), **_shapes(responses)}
    if sampled_from_policy:
        columns |= _log_ratios(responses, omitted)
    else:
        omitted["kl"] = NOT_FROM_POLICY
    figures = mean_estimates(
        columns, _prompts(responses), num_resamples=num_resamples, seed=seed
    )
    texts = [one.response for one in responses]
    for n in (1, 2, 3):
        figures[f"distinct_{n}"] = Estimate(distinct_n(texts, n))
    return figures, {"omitted": omitted}


def mean_estimates(
    columns: Mapping[str, np.ndarray],
    clusters: Sequence[str],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Means with standard errors and bootstrap intervals, one draw of clusters for all.

    Args:
      columns: by name, ``[N]`` finite numbers.
      clusters: ``[N]`` what is drawn together.
      num_resamples: 0 leaves intervals out.
      seed: of the draws.

    Raises:
      DataError: a number is not finite.
    """
    for name, column in columns.items():
        wrong = np.flatnonzero(~np.isfinite(column))
        if wrong.size:
            row = int(wrong[0])
            raise DataError(
                f"'{name}' of a response to prompt {clusters[row]} is {column[row]}: "
                "figures need finite numbers"
            )
    totals = cluster_totals(np.column_stack(list(columns.values())), clusters)
    means = totals[:, :-1].sum(0) / totals[:, -1].sum()
    if len(totals) < 2:
        return {
            name: Estimate(float(mean))
            for name, mean in zip(columns, means, strict=True)
        }
    errors = clustered_standard_error(totals)
    lows = highs = [None] * len(columns)
    if num_resamples:
        drawn = bootstrap_totals(totals, num_resamples=num_resamples, seed=seed)
        resampled = (drawn[:, :-1] / drawn[:, -1:]).T
        lows, highs = zip(*map(percentile_interval, resampled), strict=True)
    return {
        name: Estimate(float(mean), low, high, float(error))
        for name, mean, low, high, error in zip(
            columns, means, lows, highs, errors, strict=True
        )
    }


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
