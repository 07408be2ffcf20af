"""How often one run's responses are better than another's, to the same prompts."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from dro_jax.errors import DataError
from dro_jax.evaluation.estimates import mean_estimates
from dro_jax.evaluation.evaluated_run import SampledResponse, WinRate
from dro_jax.evaluation.intervals import NUM_RESAMPLES, cluster_totals
from dro_jax.evaluation.length_control import length_controlled_win_rate
from dro_jax.judges.interface import Pair, Verdicts


@dataclasses.dataclass(frozen=True)
class MatchedResponses:
    """Two runs' responses to the same prompts, one of each run to a pair.

    Attributes:
      first: ``[N]`` the first run's.
      second: ``[N]`` the second's, each to the prompt at its place.
    """

    first: tuple[SampledResponse, ...]
    second: tuple[SampledResponse, ...]

    @property
    def prompt_ids(self) -> list[str]:
        """``[N]`` the prompts' ids: several pairs may share one."""
        return [one.prompt_id for one in self.first]

    @property
    def pairs(self) -> list[Pair]:
        """``[N]`` what a judge is asked."""
        return [
            Pair(one.prompt, one.response, other.response)
            for one, other in zip(self.first, self.second, strict=True)
        ]

    @property
    def digest(self) -> str:
        """What tells these pairs from others."""
        return hashlib.sha256(json.dumps(self.pairs).encode()).hexdigest()[:16]


def matched(
    first: Sequence[SampledResponse], second: Sequence[SampledResponse]
) -> MatchedResponses:
    """The responses of two runs to prompts that both answered.

    Sample k of one run meets sample k of the other; what has no partner is left out.

    Raises:
      DataError: no prompt was answered by both, or a prompt's text differs.
    """
    partners = dict(_numbered(second))
    pairs = [
        (one, partners[key]) for key, one in _numbered(first) if key in partners
    ]  # fmt: skip
    if not pairs:
        raise DataError(
            f"two runs have no prompt in common ({len(first)} and {len(second)} "
            "responses): evaluate both on the same task, split and prompts"
        )
    for one, other in pairs:
        if one.prompt != other.prompt:
            raise DataError(
                f"two runs read different texts as prompt {one.prompt_id}: evaluate "
                "both with the same task and preprocessing"
            )
    ones, others = zip(*pairs, strict=True)
    return MatchedResponses(ones, others)


def _numbered(responses: Sequence[SampledResponse]):
    """Each response with what its partner is found by."""
    seen: collections.Counter = collections.Counter()
    for one in responses:
        key = one.prompt_id, one.sample
        seen[key] += 1  # a record that a log holds twice is two prompts
        yield (*key, seen[key]), one


def win_rate(
    first: str,
    second: str,
    judge: str,
    responses: MatchedResponses,
    verdicts: Verdicts,
    *,
    num_resamples: int = NUM_RESAMPLES,
    length_control_resamples: int = 500,
    seed: int = 0,
) -> WinRate:
    """How often the first run's responses are better, by one judge.

    The mean preference over answered pairs, with an interval by the paired bootstrap:
    prompts are drawn with replacement, with all their pairs. For a judge that says only
    better, worse or tie it is (wins + ties/2) / answered.

    Source: Koehn 2004, "Statistical Significance Tests for Machine Translation
    Evaluation", https://aclanthology.org/W04-3250; the win rate at equal length is
    :func:`dro_jax.evaluation.length_control.length_controlled_win_rate`, of characters.

    Args:
      first, second: the runs' labels.
      judge: its name.
      responses: N pairs.
      verdicts: on `MatchedResponses.pairs`, N.
      num_resamples: of the bootstrap; 0 leaves intervals out.
      length_control_resamples: of the win rate at equal length.
      seed: of the bootstraps.

    Raises:
      DataError: verdicts are of another number of pairs, or none is an answer.
    """
    preferences, answered = verdicts.preferences, verdicts.answered
    if preferences.shape != (len(responses.first),):
        raise DataError(
            f"judge '{judge}' gave {preferences.shape} verdicts on "
            f"{len(responses.first)} pairs"
        )
    if not answered.any():
        raise DataError(
            f"judge '{judge}' answered for none of {len(answered)} pairs of '{first}' "
            f"and '{second}', so that there is no win rate"
        )
    said = preferences[answered]
    prompts = np.array(responses.prompt_ids)[answered].tolist()
    (estimate,) = mean_estimates(
        {"win_rate": said}, prompts, num_resamples=num_resamples, seed=seed
    ).values()
    differences = [
        len(one.response) - len(other.response)
        for one, other in zip(responses.first, responses.second, strict=True)
    ]
    return WinRate(
        first=first,
        second=second,
        judge=judge,
        win_rate=estimate,
        wins=int(np.sum(said > 0.5)),
        ties=int(np.sum(said == 0.5)),
        losses=int(np.sum(said < 0.5)),
        unanswered=int(np.sum(~answered)),
        length_controlled=length_controlled_win_rate(
            preferences,
            differences,
            answered=answered,
            clusters=responses.prompt_ids,
            num_resamples=length_control_resamples if num_resamples else 0,
            seed=seed,
        ),
        pairs_digest=responses.digest,
        preferences=_by_prompt(prompts, said),
    )


def _by_prompt(prompts: Sequence[str], said: np.ndarray) -> dict[str, float]:
    """The mean of each prompt's verdicts."""
    totals = cluster_totals(said[:, None], prompts)
    return dict(
        zip(dict.fromkeys(prompts), (totals[:, 0] / totals[:, 1]).tolist(), strict=True)
    )
