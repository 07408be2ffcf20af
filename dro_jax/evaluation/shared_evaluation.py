"""The evaluation that several runs have in common."""

import pathlib
from collections.abc import Mapping, Sequence

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import EVALUATION, FOLDER


def shared_folders(
    runs: Sequence[pathlib.Path], name: str | None = None
) -> list[pathlib.Path]:
    """The folders of the evaluation of the same settings that all runs have.

    Args:
      runs: their folders.
      name: of the evaluation; None, that which was written last.

    Raises:
      DataError: there is none; says what each run has.
    """
    written = [_written(run) for run in runs]
    shared = set.intersection(*map(set, written))
    if name is not None:
        shared &= {name}
    if not shared:
        raise DataError(_missing(runs, written, name))
    newest = max(shared, key=lambda one: (max(its[one] for its in written), one))
    return [run / FOLDER / newest for run in runs]


def _written(run: pathlib.Path) -> dict[str, int]:
    """Names of a run's evaluations, and when each was finished."""
    files = (run / FOLDER).glob(f"*/{EVALUATION}")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}


def _missing(
    runs: Sequence[pathlib.Path],
    written: Sequence[Mapping[str, int]],
    name: str | None,
) -> str:
    found = "; ".join(
        f"{run} has {', '.join(sorted(its)) or 'none'}"
        for run, its in zip(runs, written, strict=True)
    )
    what = f"called {name}" if name else "of the same settings in common"
    return (
        f"the runs have no evaluation {what} ({found}): evaluate all together first, by "
        "`dro-jax evaluate RUN…`"
    )
