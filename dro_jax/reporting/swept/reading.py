"""A sweep's runs as their folders tell of them, sorted into what can be compared."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dro_jax.errors import DataError
from dro_jax.evaluation.compared_runs import are_of, kept
from dro_jax.evaluation.evaluated_run import EVALUATION, FOLDER, REFERENCE, EvaluatedRun
from dro_jax.plurals import counted
from dro_jax.reporting.sweep_results import SweepResults, SweptTrial
from dro_jax.reporting.swept.settings import Cell, Setting, SweptRun

_FEWEST_PROMPTS = 4  # two to choose by, two to report on


@dataclasses.dataclass(frozen=True)
class SweptRuns:
    """All that a sweep's page is made of.

    Attributes:
      results: the sweep's trials.
      cells: what can be compared, by condition.
      left_out: trials of the last stage that are complete and not compared, and why.
    """

    results: SweepResults
    cells: Sequence[Cell]
    left_out: Sequence[tuple[SweptTrial, str]]

    @property
    def compared_trials(self) -> list[SweptTrial]:
        """Those of the last stage."""
        last = self.results.stages[-1]
        return [trial for trial in self.results.trials if trial.stage == last]


def read_runs(
    results: SweepResults, folder: pathlib.Path, evaluation: str | None = None
) -> SweptRuns:
    """The evaluated runs of a sweep.

    Args:
      results: its trials.
      folder: the sweep's.
      evaluation: its name in every run; None, in each condition that which most runs
        have, of several the newest.

    Raises:
      DataError: a file is damaged, or no run has that evaluation.
    """
    last = results.stages[-1]
    trials = [trial for trial in results.trials if trial.stage == last]
    cells, left_out = [], []
    for condition in _conditions(results, trials):
        own = [trial for trial in trials if _is_under(trial, condition, results)]
        runs, without = _evaluated(own, folder, evaluation)
        left_out += without
        if not runs:
            continue
        references = _references(results, runs, folder)
        current = [_current(run, references) for run in runs]
        beside = list(references.values())
        rows = [Setting(REFERENCE, {}, beside, len(beside))] if beside else []
        cells.append(Cell(condition, _settings(results, own, current), rows))
    if evaluation is not None and not cells:
        complete = [folder / x.folder for x in trials if x.state == "complete"]
        names = ", ".join(sorted(_written(complete))) or "none"
        raise DataError(
            f"no run of the sweep can be compared by an evaluation called {evaluation}: "
            f"they have {names}"
        )
    return SweptRuns(results, cells, left_out)


def key_of(values: Any) -> str:
    """What tells an axis' value, or several, from others."""
    return json.dumps(values, sort_keys=True, default=str)


def _conditions(
    results: SweepResults, trials: Sequence[SweptTrial]
) -> list[dict[str, Any]]:
    """Each set of values that the axes of conditions take together, once."""
    found = {}
    for trial in trials:
        values = {x: trial.values[x] for x in results.conditions if x in trial.values}
        found.setdefault(key_of(values), values)
    most = max(map(len, found.values()), default=0)
    # A trial without one of them does not depend on it, and stands in every of them.
    return [values for values in found.values() if len(values) == most]


def _is_under(
    trial: SweptTrial, condition: Mapping[str, Any], results: SweepResults
) -> bool:
    return all(
        key_of(trial.values[x]) == key_of(condition.get(x))
        for x in results.conditions
        if x in trial.values
    )


def _evaluated(
    trials: Sequence[SweptTrial], folder: pathlib.Path, name: str | None
) -> tuple[list[SweptRun], list[tuple[SweptTrial, str]]]:
    """Runs that answered the same prompts, and the others with the reason."""
    complete = [trial for trial in trials if trial.state == "complete"]
    if name is None:
        name = _most_common(folder / trial.folder for trial in complete)
    runs, without = [], []
    for trial in complete:
        at = folder / trial.folder / FOLDER / str(name)
        if (at / EVALUATION).is_file():
            run = folder / trial.folder
            runs.append(SweptRun(trial, EvaluatedRun.read(at), run, kept(at)))
        elif name is None:
            without.append((trial, "no run was evaluated"))
        else:
            without.append((trial, f"it has no evaluation {name}"))
    asked = collections.Counter(map(_prompts, runs))
    usual = max(asked, key=asked.get, default=frozenset())
    few = len(usual) < _FEWEST_PROMPTS
    for run in runs:
        if _prompts(run) != usual:
            without.append((run.trial, "it answered other prompts than the others"))
        elif few:
            why = f"of {counted(len(usual), 'prompt')} no half can choose"
            without.append((run.trial, why))
    same = [] if few else [run for run in runs if _prompts(run) == usual]
    return same, without


def _prompts(run: SweptRun) -> frozenset[str]:
    return frozenset(one.prompt_id for one in run.evaluated.responses)


def _most_common(folders: Iterable[pathlib.Path]) -> str | None:
    """The name that most runs have, of several the newest."""
    found = _written(folders)
    return max(found, key=lambda x: (len(found[x]), max(found[x]), x), default=None)


def _written(folders: Iterable[pathlib.Path]) -> dict[str, list[int]]:
    """By an evaluation's name when each run's was finished."""
    found: dict[str, list[int]] = {}
    for run in folders:
        for file in (run / FOLDER).glob(f"*/{EVALUATION}"):
            found.setdefault(file.parent.name, []).append(file.stat().st_mtime_ns)
    return found


def _settings(
    results: SweepResults, trials: Sequence[SweptTrial], runs: Sequence[SweptRun]
) -> list[Setting]:
    """Runs that differ in their seed alone, together."""
    planned = collections.Counter(_place(results, trial) for trial in trials)
    by_place: dict[tuple[str, str], list[SweptRun]] = {}
    for run in runs:
        by_place.setdefault(_place(results, run.trial), []).append(run)
    return [
        Setting(place[0], _tuned(results, own[0].trial), own, planned[place])
        for place, own in by_place.items()
    ]


def compared_value(results: SweepResults, trial: SweptTrial) -> str:
    """What a trial stands for among those that are compared."""
    return str(trial.values.get(results.compared, results.name))


def _place(results: SweepResults, trial: SweptTrial) -> tuple[str, str]:
    return compared_value(results, trial), key_of(_tuned(results, trial))


def _tuned(results: SweepResults, trial: SweptTrial) -> dict[str, Any]:
    others = {results.compared, trial.seed_axis, *results.conditions}
    return {name: x for name, x in trial.values.items() if name not in others}


def _references(
    results: SweepResults, runs: Sequence[SweptRun], folder: pathlib.Path
) -> dict[str, SweptRun]:
    """What runs were compared with, where its responses are known, by its checkpoint."""
    found: dict[str, SweptRun] = {}
    for run in runs:
        which = _reference_of(run)
        if which is None or which in found:
            continue
        at = _reference_folder(results, run, which, folder)
        if at is not None:
            evaluated = EvaluatedRun.read(at)
            trial = dataclasses.replace(run.trial, values={}, label=evaluated.label)
            own = SweptRun(trial, evaluated, at)
            if _prompts(own) == _prompts(run):
                found[which] = own
    return found


def _reference_of(run: SweptRun) -> str | None:
    given = run.evaluated.settings.get("reference")
    return _which(given) if isinstance(given, Mapping) else None


def _reference_folder(
    results: SweepResults, run: SweptRun, which: str, folder: pathlib.Path
) -> pathlib.Path | None:
    """Within an evaluation of the run, or that of a run of an earlier stage."""
    earlier = [
        folder / trial.folder
        for trial in results.trials
        if trial.stage != results.stages[-1] and trial.state == "complete"
    ]
    files = list((run.folder / FOLDER).glob(f"*/{REFERENCE}/{EVALUATION}"))
    files += [file for own in earlier for file in own.glob(f"{FOLDER}/*/{EVALUATION}")]
    for file in files:
        settings = EvaluatedRun.read(file.parent).settings
        same = _which(settings.get("checkpoint") or {}) == which
        if same and settings.get("prompts") == run.evaluated.settings.get("prompts"):
            return file.parent
    return None


def _which(checkpoint: Mapping[str, Any]) -> str:
    return key_of({name: checkpoint.get(name) for name in ("step", "digest")})


def _current(run: SweptRun, references: Mapping[str, SweptRun]) -> SweptRun:
    """The run without win rates of other responses than it has now."""
    reference = references.get(_reference_of(run) or "")
    if reference is None:
        return run
    other = reference.evaluated
    rates = [
        x
        for x in run.win_rates
        if x.second != other.label or are_of(x, run.evaluated, other)
    ]
    return dataclasses.replace(run, win_rates=rates)
