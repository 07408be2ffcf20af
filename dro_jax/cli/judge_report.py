"""What people's answers say of runs, as text and as JSON."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.cli.responses_of_runs import response_alone
from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import WinRate
from dro_jax.evaluation.win_rates import MatchedResponses, win_rate
from dro_jax.judges.agreement import cohens_kappa, fleiss_kappa
from dro_jax.judges.blinding import BlindedPair, Key
from dro_jax.judges.interface import Verdicts
from dro_jax.judges.sheet_answers import Problem, SheetAnswers

JUDGE = "people"


@dataclasses.dataclass(frozen=True)
class SheetResults:
    """What came of a sheet.

    Attributes:
      sheet: its name.
      win_rates: of each two runs of which a pair was answered; of several answers to a
        pair the mean counts.
      answered: by rater, how many pairs.
      kappa: how far raters agree beyond chance: Cohen's of two, Fleiss' of more; None
        where it says nothing.
      problems: what was left out.
    """

    sheet: str
    win_rates: Sequence[WinRate]
    answered: Mapping[str, int]
    kappa: float | None
    problems: Sequence[Problem]


def results_of(key: Key, answers: SheetAnswers) -> SheetResults:
    """Win rates and agreement.

    Raises:
      DataError: nothing was answered.
    """
    answered = {rater: len(own) for rater, own in answers.answers.items()}
    if not any(answered.values()):
        raise DataError(
            "no sheet holds an answer that counts: write 1, 2 or 0 into the column "
            "`answer`, or answer on the page and save"
        )
    by_runs = collections.defaultdict(list)
    for pair in key.pairs:
        by_runs[pair.contest[:2]].append(pair)
    rates = [_win_rate(*runs, pairs, answers) for runs, pairs in by_runs.items()]
    return SheetResults(
        key.sheet,
        [rate for rate in rates if rate is not None],
        answered,
        _kappa(key, answers),
        answers.problems,
    )


def _win_rate(
    first: str, second: str, pairs: Sequence[BlindedPair], answers: SheetAnswers
) -> WinRate | None:
    said = [answers.of_pair(pair) if pair.shown else [0.5] for pair in pairs]
    if not any(said):
        return None
    verdicts = Verdicts(
        np.array([np.mean(own) if own else 0.5 for own in said], np.float64),
        np.array([bool(own) for own in said]),
    )
    sides = [
        [
            response_alone(own.contest.prompt_id, own.contest.pair.prompt, text)
            for own, text in ((own, own.contest.pair[place]) for own in pairs)
        ]
        for place in (1, 2)
    ]
    responses = MatchedResponses(tuple(sides[0]), tuple(sides[1]))
    return win_rate(first, second, JUDGE, responses, verdicts)


def _kappa(key: Key, answers: SheetAnswers) -> float | None:
    raters = [own for own in answers.answers.values() if own]
    if len(raters) == 2:
        one, other = raters
        both = [pair.id for pair in key.shown if pair.id in one and pair.id in other]
        return cohens_kappa([one[p] for p in both], [other[p] for p in both])
    found = [
        collections.Counter(own[pair.id] for own in raters if pair.id in own)
        for pair in key.shown
    ]
    return fleiss_kappa([[own[answer] for answer in (0, 1, 2)] for own in found])


def as_text(results: SheetResults) -> str:
    """Lines for people."""
    lines = [
        f"{rater}: {count:,} answered" for rater, count in results.answered.items()
    ]
    if len(results.answered) > 1:
        name = "Cohen's" if len(results.answered) == 2 else "Fleiss'"
        value = "says nothing here" if results.kappa is None else f"{results.kappa:.2f}"
        lines.append(f"agreement of raters beyond chance, {name} kappa: {value}")
    for own in results.win_rates:
        interval = ""
        if own.win_rate.low is not None:
            interval = f" ({own.win_rate.low:.1%} to {own.win_rate.high:.1%})"
        lines.append(
            f"{own.first} against {own.second}: win rate {own.win_rate.value:.1%}{interval}, "
            f"{own.wins} won, {own.ties} tied, {own.losses} lost, "
            f"{own.unanswered} unanswered"
        )
    return "\n".join(lines)


def as_json(results: SheetResults) -> dict[str, Any]:
    """Everything, as values that JSON holds."""
    return dataclasses.asdict(results) | {
        "win_rates": [own.told() for own in results.win_rates],
        "problems": [problem._asdict() for problem in results.problems]
    }
