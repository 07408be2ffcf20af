"""Figures of sampled responses as plain numbers by name, for a run's log."""

from collections.abc import Sequence

import numpy as np

from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.figures import figures_of
from dro_jax.evaluation.win_rates import MatchedResponses, matched, win_rate
from dro_jax.judges.interface import Judge
from dro_jax.judges.reward_judge import verdicts_of
from dro_jax.models.decoding import DecodingConfig


def sampled_figures(
    responses: Sequence[SampledResponse],
    of_reference: Sequence[SampledResponse],
    config: DecodingConfig,
    judge: Judge | None = None,
) -> dict[str, float]:
    """Figures by the names of `dro_jax.evaluation.figures`, without intervals.

    Beside them `kl_standard_error`, over prompts, where there is a KL.

    Args:
      responses: of the policy, scored.
      of_reference: what the reference answered to the same prompts, in the same order;
        or nothing.
      config: how both were chosen.
      judge: compares the two; None, the first reward does, where there is one.
    """
    figures, _ = figures_of(
        responses, sampled_from_policy=is_of_policy(config), num_resamples=0
    )
    found = {name: estimate.value for name, estimate in figures.items()}
    if "kl" in figures and figures["kl"].standard_error is not None:
        found["kl_standard_error"] = figures["kl"].standard_error
    return found | _win_rates(responses, of_reference, judge)


def is_of_policy(config: DecodingConfig) -> bool:
    """Whether responses are samples of the policy itself, at temperature 1."""
    filtered = config.top_k or 0 < config.top_p < 1
    return config.temperature == 1 and not filtered and not config.beams


def _win_rates(
    responses: Sequence[SampledResponse],
    of_reference: Sequence[SampledResponse],
    judge: Judge | None,
) -> dict[str, float]:
    """Plain and at equal length; nothing where nobody judges or answers."""
    if not of_reference or (judge is None and not responses[0].rewards):
        return {}
    pairs = matched(responses, of_reference)
    if judge is None:
        name = next(iter(responses[0].rewards))
        verdicts = verdicts_of(_gains(pairs, name))
    else:
        name, verdicts = judge.name, judge(pairs.pairs)
    if not verdicts.answered.any():
        return {}
    found = win_rate("policy", "reference", name, pairs, verdicts, num_resamples=0)
    rates = {f"win_rate/{name}": found.win_rate.value}
    if found.length_controlled is not None:
        rates[f"length_controlled_win_rate/{name}"] = found.length_controlled.value
    return rates


def _gains(pairs: MatchedResponses, reward: str) -> np.ndarray:
    """``[N]`` by how much each response's score is above the reference's."""
    return np.array(
        [
            own.rewards[reward] - other.rewards[reward]
            for own, other in zip(pairs.first, pairs.second, strict=True)
        ]
    )
