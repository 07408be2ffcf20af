"""A run as a report tells of it: its evaluation, and what its folder says."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import EvaluatedRun, WinRate
from dro_jax.paths import checkpoint_step
from dro_jax.training import run_files

_FACTS = {
    "rewards": run_files.REWARD_STATISTICS,
    "value of the reference": run_files.VALUE_OF_REFERENCE_REPORT,
    "advantages": run_files.ADVANTAGES,
    "pruned": run_files.PRUNED,
}


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """One row of a report.

    Attributes:
      evaluated: its responses and figures; `label` is what the report calls it.
      win_rates: of it against others, by each judge.
      is_policy: whether a trained policy gave the responses; logged data and a bound, as
        the best possible response, are rows that no policy is measured against as equal.
      config: its resolved gin; empty where there is none.
      distinct: of its settings those in which the runs differ, by name; None where
        nobody has compared them.
      metrics: the lines of its `metrics.jsonl`.
      identity: its data and reference, in words and digests, by name.
      facts: what it wrote of rewards and drops (`rewards`), of V_ref, of `advantages`,
        and of its early end (`pruned`).
      not_finite: steps whose loss or gradient was not finite.
      folder: where it lies, which no page tells; empty where it has no folder.
    """

    evaluated: EvaluatedRun
    win_rates: Sequence[WinRate] = ()
    is_policy: bool = True
    config: str = ""
    distinct: Mapping[str, str] | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    identity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    not_finite: Sequence[int] = ()
    folder: str = ""

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return self.evaluated.label

    @classmethod
    def of_folder(
        cls,
        folder: pathlib.Path,
        evaluated: EvaluatedRun,
        win_rates: Sequence[WinRate] = (),
    ) -> Self:
        """A run with what its folder tells, which may be anybody's: no code is read.

        Args:
          folder: made by `dro-jax train`.
          evaluated: its evaluation.
          win_rates: of it against others.

        Raises:
          DataError: a file of it is damaged.
        """
        path = folder / run_files.CONFIG
        config = path.read_bytes() if path.is_file() else b""
        return cls(
            evaluated=evaluated,
            win_rates=tuple(win_rates),
            config=config.decode("utf-8", "replace"),
            metrics=read_lines(folder / run_files.METRICS),
            identity=_identity(folder)
            | {"config.gin": hashlib.sha256(config).hexdigest()[:16]},
            facts=_facts(folder),
            not_finite=_not_finite(folder),
            folder=os.path.realpath(folder),
        )


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; of a line that a kill cut short, nothing.

    Raises:
      DataError: another line is no JSON object.
    """
    if not path.is_file():
        return []
    found = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(_object(line))
        except ValueError as error:
            if number == len(lines):
                break  # written without its end
            raise DataError(
                f"{path} line {number} cannot be read ({error}): mend it, or delete it"
            ) from error
    return found


def _object(text: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    values = json.loads(text)
    if isinstance(values, dict):
        return values
    raise ValueError("it is no JSON object")


def _identity(folder: pathlib.Path) -> dict[str, str]:
    """That of the newest checkpoint which tells it."""
    found = {
        step: path
        for path in folder.iterdir()
        if (step := checkpoint_step(path.name)) is not None
    }
    for _, path in sorted(found.items(), reverse=True):
        values = _json(run_files.progress_file(path))
        if values.get("identity"):
            return {str(name): str(x) for name, x in values["identity"].items()}
    return {}


def _facts(folder: pathlib.Path) -> dict[str, Any]:
    found = {name: _json(folder / file) for name, file in _FACTS.items()}
    return {name: values for name, values in found.items() if values}


def _not_finite(folder: pathlib.Path) -> list[int]:
    names = (
        re.fullmatch(r"non_finite_step_(\d+)\.json", x.name) for x in folder.iterdir()
    )
    return sorted(int(match[1]) for match in names if match)


def _json(path: pathlib.Path) -> dict[str, Any]:
    """An object of a file; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        return _object(path.read_bytes())
    except ValueError as error:
        raise DataError(
            f"{path} cannot be read ({error}): mend it, or delete it"
        ) from error
