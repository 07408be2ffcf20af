"""Figures of sampled responses as plain numbers by name, for a run's log."""

from collections.abc import Sequence

import numpy as np

from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.figures import figures_of
from dro_jax.judges.interface import Judge, Pair, Verdicts
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
    return found | _win_rate(responses, of_reference, judge)


def is_of_policy(config: DecodingConfig) -> bool:
    """Whether responses are samples of the policy itself, at temperature 1."""
    filtered = config.top_k or 0 < config.top_p < 1
    return config.temperature == 1 and not filtered and not config.beams


def _win_rate(
    responses: Sequence[SampledResponse],
    of_reference: Sequence[SampledResponse],
    judge: Judge | None,
) -> dict[str, float]:
    """(wins + ties/2) / answered; nothing where nobody judges or answers."""
    if not of_reference or (judge is None and not responses[0].rewards):
        return {}
    pairs = list(zip(responses, of_reference, strict=True))
    if judge is None:
        name = next(iter(responses[0].rewards))
        ahead = [np.sign(own.rewards[name] - its.rewards[name]) for own, its in pairs]
        verdicts = Verdicts((1 + np.array(ahead)) / 2, np.ones(len(pairs), bool))
    else:
        name = judge.name
        verdicts = judge(
            [Pair(own.prompt, own.response, its.response) for own, its in pairs]
        )
    if not verdicts.answered.any():
        return {}
    preferences = verdicts.preferences[verdicts.answered]
    return {f"win_rate/{name}": float(preferences.mean())}
