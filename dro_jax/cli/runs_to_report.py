"""What a report tells of: evaluated runs, and the references they stand beside."""

import dataclasses
import pathlib
from collections.abc import Sequence

from dro_jax.cli.run_settings_compared import parsed, with_differences
from dro_jax.evaluation.compared_runs import are_of, kept
from dro_jax.evaluation.evaluated_run import (
    EVALUATION,
    FOLDER,
    REFERENCE,
    EvaluatedRun,
)
from dro_jax.evaluation.shared_evaluation import shared_folders
from dro_jax.messages import note
from dro_jax.paths import is_url
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.training.run_files import is_checkpoint

_START = "INITIAL_CHECKPOINT_PATH"


def reported_runs(folders: Sequence[pathlib.Path], name: str) -> list[ReportedRun]:
    """Runs, and before them the references that they were compared with.

    Args:
      folders: made by `dro-jax train`.
      name: of an evaluation that all have.

    Raises:
      DataError: one has no such evaluation, or a file is damaged.
    """
    found = []
    for folder, at in zip(folders, shared_folders(folders, name), strict=True):
        found.append(ReportedRun.of_folder(folder, EvaluatedRun.read(at), kept(at)))
    found = [*_references(folders, name, found), *found]
    return with_differences(_without_outdated(found))


def _without_outdated(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """The same runs, their win rates those of the responses that they have now."""
    by_label = {run.label: run.evaluated for run in runs}
    rows = []
    for run in runs:
        current = []
        for one in run.win_rates:
            other = by_label.get(one.second)
            if other is None or are_of(one, run.evaluated, other):
                current.append(one)
            else:
                note(
                    f"the win rate of {one.first} against {one.second} by {one.judge} is "
                    "of other responses than they have now, and is left out: run "
                    "`dro-jax evaluate` with both"
                )
        rows.append(dataclasses.replace(run, win_rates=tuple(current)))
    return rows


def _references(
    folders: Sequence[pathlib.Path], name: str, runs: Sequence[ReportedRun]
) -> list[ReportedRun]:
    """What the runs were compared with, where that is evaluated and none of them."""
    labels, found = {run.label for run in runs}, []
    given = {folder.resolve() for folder in folders}
    for folder, own in zip(folders, runs, strict=True):
        start = _started_from(own, folder)
        if start is not None and start.resolve() not in given:
            found += _unless_known(labels, start, start / FOLDER / name)
        found += _unless_known(labels, None, folder / FOLDER / name / REFERENCE)
    return found


def _unless_known(
    labels: set[str], folder: pathlib.Path | None, at: pathlib.Path
) -> list[ReportedRun]:
    if not (at / EVALUATION).is_file():
        return []
    evaluated = EvaluatedRun.read(at)
    if evaluated.label in labels:
        return []
    labels.add(evaluated.label)
    if folder is None:
        return [ReportedRun(evaluated, kept(at))]
    return [ReportedRun.of_folder(folder, evaluated, kept(at))]


def _started_from(own: ReportedRun, home: pathlib.Path) -> pathlib.Path | None:
    """The folder of the run that a run says it started from.

    Where there is none, as after all were moved, or elsewhere than where they were
    trained, it is that of the same name beside the run.
    """
    configuration = parsed(own)
    if configuration is None:
        return None
    start = configuration.filled_in(configuration.macros.get(_START))
    if not isinstance(start, str) or is_url(start):
        return None
    folder = pathlib.Path(start)
    folder = folder.parent if is_checkpoint(folder.name) else folder
    beside = home.resolve().parent / folder.name
    return next((path for path in (folder, beside) if path.is_dir()), None)
