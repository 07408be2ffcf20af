"""A sweep's report: one page, and its numbers and pictures as files beside."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.plurals import counted
from dro_jax.reporting import curves, paths, samples
from dro_jax.reporting.files import MOST_BYTES, write_page
from dro_jax.reporting.html import element, file_name, lines
from dro_jax.reporting.places import Places
from dro_jax.reporting.reported_run import ReportedRun, read_lines
from dro_jax.reporting.section import Section
from dro_jax.reporting.style import RunStyle, looks_of
from dro_jax.reporting.sweep_results import SweepResults
from dro_jax.reporting.swept import (
    comparison,
    conditions,
    costs,
    equal_kl,
    sensitivity,
    trials,
)
from dro_jax.reporting.swept.choice import chosen
from dro_jax.reporting.swept.figures import all_runs, check_chooses
from dro_jax.reporting.swept.reading import SweptRuns, key_of, read_runs
from dro_jax.training.run_files import METRICS

CHOOSES = "reward"


def write_sweep_report(
    results: SweepResults,
    folder: pathlib.Path,
    output: pathlib.Path,
    *,
    title: str | None = None,
    evaluation: str | None = None,
    chooses: str = CHOOSES,
    max_samples: int = samples.DEFAULT_SAMPLES,
) -> pathlib.Path:
    """Writes the page of a sweep, finished or not.

    Its rows are settings: runs that differ in their seed alone count together. The best
    setting of each objective is chosen on one half of the prompts and reported on the
    other. No file names a folder of this machine.

    Args:
      results: the sweep's trials.
      folder: the sweep's, in which the runs' folders lie.
      output: for `report.html`, `report.json`, `tables/` and `figures/`; made if need be.
      title: of the page; default, the sweep's name.
      evaluation: its name in every run's `evaluations/`; default, under each condition
        that which most runs have.
      chooses: the figure by which settings are chosen: a reward, or a judge's win rate
        against the reference, `win_rate/JUDGE`; the higher the better.
      max_samples: prompts of which responses are shown; 0 leaves out all texts, in every
        file.

    Returns:
      The page's path.

    Raises:
      ConfigError: no run has that figure, or `max_samples` is negative.
      DataError: a file of a run is damaged.
    """
    if max_samples < 0:
        raise ConfigError(f"--samples must be 0 or more, got {max_samples}")
    places = Places(os.path.realpath(folder))
    results = _without_places(results, places)
    found = read_runs(results, folder, evaluation)
    check_chooses(found.cells, chooses)
    names = list(dict.fromkeys(x for cell in found.cells for x in cell.compared))
    looks = looks_of(names)
    sections = _sections(found, looks, chooses, places, max_samples)
    numbers = {
        "sweep": results.name,
        "compared": results.compared,
        "conditions": list(results.conditions),
        "chooses": chooses,
        "prompts": [
            {"condition": dict(cell.condition), "choosing": len(cell.choosing),
             "reporting": len(cell.reporting)}
            for cell in found.cells
        ],
    }  # fmt: skip
    title = title or f"Sweep {results.name}"
    return write_page(
        output, title, _told(found), sections, looks, numbers, _texts(found, chooses)
    )


def _sections(
    found: SweptRuns,
    looks: Sequence[RunStyle],
    chooses: str,
    places: Places,
    max_samples: int,
) -> list[Section]:
    cells, results = found.cells, found.results
    by_name, given = {look.label: look for look in looks}, results.conditions
    first: list[Section | None] = []
    if cells:
        first = [
            conditions.section(cells, by_name, chooses, given),
            comparison.section(cells, by_name, chooses, given),
            equal_kl.section(cells, by_name, chooses, given),
            sensitivity.section(cells, by_name, chooses, results),
            _paths(found, looks, chooses),
            _learning_curves(found, looks, chooses),
        ]
    last = [
        trials.section(found, places, messages=max_samples > 0),
        costs.section(results),
    ]
    shown = [x for x in first if x is not None]
    size = sum(len(x.body.encode("utf-8", "replace")) for x in [*shown, *last])
    if cells:
        runs, own = _representatives(found, looks, chooses)
        part = samples.section(
            runs, own, limit=max_samples, most_bytes=max(0, MOST_BYTES - size)
        )
        shown.append(_of_chosen(part, found))
    return [*shown, *last]


def _representatives(
    found: SweptRuns, looks: Sequence[RunStyle], chooses: str
) -> tuple[list[ReportedRun], list[RunStyle]]:
    """The first seed of each chosen setting, under the first condition."""
    cell, runs, own = found.cells[0], [], []
    best = chosen(cell, chooses)
    for look in looks:
        if (setting := best.get(look.label)) is not None:
            run = setting.runs[0]
            evaluated = dataclasses.replace(run.evaluated, label=look.label)
            runs.append(ReportedRun.of_folder(run.folder, evaluated))
            own.append(look)
    return runs, own


def _learning_curves(
    found: SweptRuns, looks: Sequence[RunStyle], chooses: str
) -> Section | None:
    part = curves.section(*_representatives(found, looks, chooses))
    return part and _of_chosen(part, found)


def _paths(found: SweptRuns, looks: Sequence[RunStyle], chooses: str) -> Section | None:
    best = chosen(found.cells[0], chooses)
    part = paths.of_seeds(
        (look, [read_lines(run.folder / METRICS) for run in setting.runs])
        for look in looks
        if (setting := best.get(look.label)) is not None
    )
    return part and _of_chosen(part, found, "its seeds")


def _of_chosen(
    part: Section, found: SweptRuns, which: str = "its first seed"
) -> Section:
    """A part that shows runs, which says of which it is."""
    where = f", with {found.cells[0].name}" if found.cells[0].name else ""
    note = element("p", f"Of each chosen setting{where}: {which}.", class_="note")
    return dataclasses.replace(part, body=lines(note, part.body))


def _texts(found: SweptRuns, chooses: str) -> dict[str, str]:
    """Tables that documents quote."""
    cells, results = found.cells, found.results
    if not cells:
        return {}
    given, compared = results.conditions, results.compared
    texts = {
        "comparison": comparison.as_markdown(cells, chooses, given, compared),
        "equal_kl": equal_kl.as_markdown(cells, chooses, given, compared),
        "conditions": conditions.as_markdown(cells, chooses, compared),
    }
    for axis, text in sensitivity.as_markdown(cells, chooses, given, compared).items():
        texts[file_name(f"sensitivity {axis}", texts)] = text
    return {name: text for name, text in texts.items() if text}


def _told(found: SweptRuns) -> str:
    runs = all_runs(found.cells)
    if not runs:
        planned = len(found.compared_trials)
        return f"{counted(planned, 'trial')}, of which none can be compared."
    settings = sum(len(cell.settings) for cell in found.cells)
    given = runs[0].evaluated.settings
    task, split = given.get("task"), given.get("split")
    prompts = len(found.cells[0].choosing) + len(found.cells[0].reporting)
    where = f" of {task}" if task else ""
    where += f", {split} split" if split else ""
    return (
        f"{counted(settings, 'setting')}, {counted(len(runs), 'run')}; "
        f"{counted(prompts, 'prompt')}{where}."
    )


def _without_places(results: SweepResults, places: Places) -> SweepResults:
    """Trials as they are told of: no value or label names a folder of this machine."""
    shortened = [
        dataclasses.replace(
            trial,
            label=places.shortened(trial.label),
            values=places.shortened(dict(trial.values)),
            unused=tuple(map(places.shortened, trial.unused)),
        )
        for trial in results.trials
    ]
    before = {key_of(dict(trial.values)) for trial in results.trials}
    after = {key_of(dict(trial.values)) for trial in shortened}
    # Two folders whose last names are alike must not become one setting.
    if len(after) < len(before):
        return results
    return dataclasses.replace(results, trials=tuple(shortened))
