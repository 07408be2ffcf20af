"""Responses that no policy gave just now, measured as a run's are: a table's other rows."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dro_jax.evaluation.evaluated_run import EvaluatedRun, SampledResponse
from dro_jax.evaluation.figures import figures_of
from dro_jax.evaluation.prompts import prompt_ids
from dro_jax.evaluation.scoring import with_rewards
from dro_jax.rewards.interface import Reward


def evaluated_given(
    label: str,
    given: Iterable[tuple[str, str]],
    vocabulary: Any,
    rewards: Sequence[Reward],
    settings: Mapping[str, Any],
) -> EvaluatedRun:
    """Rewards and figures of given responses, as those of a log.

    Args:
      label: what tables call them.
      given: prompts and responses; those to one prompt are its samples.
      vocabulary: counts their tokens.
      rewards: the one that counts first.
      settings: of the runs beside which they stand.
    """
    given = list(given)
    counts: collections.Counter[str] = collections.Counter()
    responses = []
    ids = prompt_ids([prompt for prompt, _ in given])
    for own, (prompt, text) in zip(ids, given, strict=True):
        tokens = len(vocabulary.encode(text)) + 1
        responses.append(
            SampledResponse(
                own, counts[own], prompt, text, tokens, cut=False, logprob=None
            )
        )
        counts[own] += 1
    scored = with_rewards(responses, rewards)
    figures, _ = figures_of(scored, sampled_from_policy=False)
    return EvaluatedRun(label, settings, scored, figures)
