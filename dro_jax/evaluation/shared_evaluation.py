"""The evaluation that several runs have in common."""

import pathlib
from collections.abc import Sequence

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import EVALUATION, FOLDER, EvaluatedRun


def shared_evaluation(
    runs: Sequence[pathlib.Path], name: str | None = None
) -> list[EvaluatedRun]:
    """The newest evaluation of the same settings that all runs have, one of each.

    Args:
      runs: their folders.
      name: that of the evaluation's folder; None, the newest.

    Raises:
      DataError: there is none, or a file of it is damaged.
    """
    kept = [_kept(run) for run in runs]
    shared = set.intersection(*(set(own) for own in kept))
    if name is not None:
        shared &= {name}
    if not shared:
        every = "; ".join(
            f"{run}: {', '.join(sorted(own)) or 'none'}"
            for run, own in zip(runs, kept, strict=True)
        )
        what = (
            f"evaluation called {name}" if name else "evaluation of the same settings"
        )
        raise DataError(
            f"the runs have no {what} in common ({every}): run `dro-jax evaluate` on "
            "all of them together"
        )
    # As new as the oldest of its parts.
    newest = max(shared, key=lambda one: (min(own[one] for own in kept), one))
    return [EvaluatedRun.read(run / FOLDER / newest) for run in runs]


def _kept(run: pathlib.Path) -> dict[str, int]:
    """Names of a run's evaluations, and when each was finished."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (run / FOLDER).glob(f"*/{EVALUATION}")
    }
