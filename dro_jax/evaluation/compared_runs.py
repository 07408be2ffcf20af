"""Runs compared pair by pair by a judge, and what is kept of that in their folders."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, WinRate
from dro_jax.evaluation.win_rates import matched, win_rate
from dro_jax.judges.interface import Judge, Verdicts
from dro_jax.messages import note
from dro_jax.rewards.interface import Reward, Scores
from dro_jax.whole_files import write_whole

_VERDICTS = "verdicts.jsonl"


class KnownScores:
    """A reward that is asked only for what runs have no score of yet.

    Args:
      reward: the first of the runs' rewards.
      runs: scored by it.

    Attributes:
      name, fingerprint: the reward's.
    """

    def __init__(self, reward: Reward, runs: Sequence[EvaluatedRun]):
        self._reward = reward
        self.name, self.fingerprint = reward.name, reward.fingerprint
        self._known = {
            (one.prompt, one.response): one.rewards[reward.name]
            for run in runs
            for one in run.responses
        }

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Totals of N responses."""
        pairs = list(zip(prompts, responses, strict=True))
        if missing := [pair for pair in pairs if pair not in self._known]:
            asked = self._reward(*map(list, zip(*missing, strict=True)))
            self._known |= zip(missing, asked.total.tolist(), strict=True)
        return Scores(np.array([self._known[pair] for pair in pairs], np.float64))


def compared(
    runs: Sequence[EvaluatedRun],
    judges: Sequence[Judge],
    *,
    seed: int = 0,
    couples: Sequence[tuple[EvaluatedRun, EvaluatedRun]] | None = None,
) -> list[WinRate]:
    """Win rates of all pairs of runs, each against those that stand before it.

    A judge is asked once, for all pairs of responses: what it costs is known before.

    Args:
      runs: references first.
      judges: one after another.
      seed: of the bootstraps.
      couples: the pairs that are wanted alone, each the run and whom it is judged
        against; default, all.

    Raises:
      ConfigError: two judges have one name.
      DataError: runs have no prompt in common.
    """
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"the judges are called {', '.join(names)}: give each a name of its own"
        )
    if couples is None:
        couples = [(late, early) for early, late in itertools.combinations(runs, 2)]
    responses = [matched(late.responses, early.responses) for late, early in couples]
    found = []
    for judge in judges if couples else ():
        verdicts = judge([pair for own in responses for pair in own.pairs])
        ends = np.cumsum([len(own.pairs) for own in responses])[:-1]
        parts = zip(
            np.split(verdicts.preferences, ends),
            np.split(verdicts.answered, ends),
            strict=True,
        )
        for (late, early), own, part in zip(couples, responses, parts, strict=True):
            if not part[1].any():
                # People may have seen some of the runs; no number is made of nothing.
                note(
                    f"judge {judge.name} answered for no pair of {late.label} and "
                    f"{early.label}: they have no win rate by it"
                )
                continue
            found.append(
                win_rate(
                    late.label, early.label, judge.name, own, Verdicts(*part), seed=seed
                )
            )
    return found


def keep(
    folder: pathlib.Path, run: EvaluatedRun, found: Sequence[WinRate]
) -> EvaluatedRun:
    """Writes a run's win rates beside its figures, and those against its reference there.

    Args:
      folder: of its evaluation.
      run: as it was written there.
      found: of any runs; those of the run are taken, in the place of earlier ones.

    Returns:
      The run with the win rates against its reference among its figures.
    """
    own = {(one.second, one.judge): one for one in kept(folder)}
    own |= {(x.second, x.judge): x for x in found if x.first == run.label}
    if not own:
        return run
    lines = b"".join(
        f"{json.dumps(dataclasses.asdict(one), ensure_ascii=False)}\n".encode()
        for one in own.values()
    )
    write_whole(folder / _VERDICTS, lambda file: file.write(lines))
    reference = run.settings["reference"]
    figures = {}
    for (second, judge), one in own.items():
        if reference is not None and second == reference["label"]:
            figures[f"win_rate/{judge}"] = one.win_rate
            if one.length_controlled is not None:
                figures[f"length_controlled_win_rate/{judge}"] = one.length_controlled
    run = dataclasses.replace(run, figures={**run.figures, **figures})
    run.write_figures(folder)
    return run


def kept(folder: pathlib.Path) -> list[WinRate]:
    """The win rates that lie in an evaluation's folder; damaged ones are left out."""
    try:
        lines = (folder / _VERDICTS).read_text("utf-8").splitlines()
        return [_win_rate(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def are_of(found: WinRate, first: EvaluatedRun, second: EvaluatedRun) -> bool:
    """Whether a kept win rate is of what two runs answer now.

    It is found by their labels, and a run that was sampled anew since, or another of the
    same name, has the same.
    """
    if found.pairs_digest is None:
        return True  # written before digests were
    try:
        return matched(first.responses, second.responses).digest == found.pairs_digest
    except DataError:
        return False


def forget(folder: pathlib.Path) -> None:
    """Deletes the win rates of responses that are no more."""
    (folder / _VERDICTS).unlink(missing_ok=True)


def _win_rate(fields: Mapping) -> WinRate:
    estimates = {
        name: fields[name] and Estimate(**fields[name])
        for name in ("win_rate", "length_controlled")
    }
    return WinRate(**fields | estimates)
