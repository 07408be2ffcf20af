"""A strength of each of several runs, from all their win rates."""

from collections.abc import Sequence

import numpy as np

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import WinRate


def bradley_terry(
    labels: Sequence[str], win_rates: Sequence[WinRate]
) -> dict[str, float]:
    """Strengths of runs that explain all their win rates by one judge.

    ``P(i beats j) = σ(s_i - s_j)``, fitted by maximum likelihood with mean 0, after one
    tie more in each pair of runs that was compared: so that a run that won always has a
    finite strength.

    Source: Bradley and Terry 1952, https://doi.org/10.1093/biomet/39.3-4.324; fitted as
    in Hunter 2004, "MM algorithms for generalized Bradley-Terry models",
    https://doi.org/10.1214/aos/1079120141.

    Args:
      labels: R runs.
      win_rates: in whatever order, each pair once, either way round.

    Returns:
      By label, log-odds (nats): a run stronger by 1 wins σ(1) = 73% of prompts.

    Raises:
      DataError: the win rates are of several judges or of an unknown run, a pair is
        there twice, or comparisons do not join all runs.
    """
    won, answers = _won(labels, win_rates)
    compared = ~np.isnan(won)
    _check_joined(labels, compared)
    if len(labels) < 2:
        return dict.fromkeys(labels, 0.0)
    games = np.where(compared, answers + 1, 0)
    wins = np.where(compared, np.nan_to_num(won) * answers + 0.5, 0).sum(1)
    strengths = np.zeros(len(labels))
    for _ in range(100_000):
        power = np.exp(strengths)
        new = np.log(wins / (games / np.add.outer(power, power)).sum(1))
        new -= new.mean()
        moved = np.abs(new - strengths).max()
        strengths = new
        if moved < 1e-12:
            break
    return {
        label: float(strength)
        for label, strength in zip(labels, strengths, strict=True)
    }  # fmt: skip


def _won(
    labels: Sequence[str], win_rates: Sequence[WinRate]
) -> tuple[np.ndarray, np.ndarray]:
    """``[R, R]`` win rates, NaN where not compared, and numbers of answers."""
    place = {label: row for row, label in enumerate(labels)}
    judges = sorted({one.judge for one in win_rates})
    if len(judges) > 1:
        raise DataError(f"win rates are of several judges: {', '.join(judges)}")
    won = np.full((len(labels), len(labels)), np.nan)
    answers = np.zeros_like(won)
    for one in win_rates:
        for label in (one.first, one.second):
            if label not in place:
                raise DataError(f"a win rate is of '{label}', which is no run given")
        i, j = place[one.first], place[one.second]
        if i == j or not np.isnan(won[i, j]):
            raise DataError(
                f"'{one.first}' and '{one.second}' are compared twice, or are one run"
            )
        won[i, j], won[j, i] = one.win_rate.value, 1 - one.win_rate.value
        answers[i, j] = answers[j, i] = one.wins + one.ties + one.losses
    return won, answers


def _check_joined(labels: Sequence[str], compared: np.ndarray) -> None:
    reached = np.zeros(len(labels), bool)
    reached[:1] = True
    for _ in labels:
        reached |= compared[reached].any(0)
    if not reached.all():
        apart = labels[int(np.flatnonzero(~reached)[0])]
        raise DataError(
            f"no chain of comparisons joins '{labels[0]}' and '{apart}', so that their "
            "strengths cannot be compared: judge one pair of them"
        )
