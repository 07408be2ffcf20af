"""What is known of a sweep's trials, as `sweep.json` in its folder tells a report."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

from dro_jax.errors import DataError
from dro_jax.whole_files import write_json

RESULTS = "sweep.json"
STATES = ("waiting", "running", "complete", "failed", "pruned")


@dataclasses.dataclass(frozen=True)
class SweptTrial:
    """One trial.

    Attributes:
      number: of the first try, which names its folder; unique in the sweep.
      stage: its stage's name.
      label: `DRO-V · TAU 0.1 · seed 0`.
      values: by axis, what the trial has there: of `Files` a label, else a Python value.
        Axes without effect on it are left out.
      unused: axes and bindings that were given to it and that its run does not read.
      seed_axis: the axis of its seed, if any.
      state: `waiting`, `running`, `complete`, `failed` or `pruned`.
      reason: why it failed or was pruned.
      folder: of the run, within the sweep's.
      seconds: spent in it, all tries together.
      steps, tokens: of its training.
      tries: how often it was begun, in whatever process.
      worker: who did the last try.
      value: of a search's metric.
      key: as that of `PlannedTrial`: finds a stage's runs for those that build on them.
    """

    number: int
    stage: str
    label: str
    values: Mapping[str, Any]
    unused: Sequence[str] = ()
    seed_axis: str | None = None
    state: str = "waiting"
    reason: str | None = None
    folder: str = ""
    seconds: float = 0.0
    steps: int | None = None
    tokens: int | None = None
    tries: int = 0
    worker: str | None = None
    value: float | None = None
    key: str = ""


@dataclasses.dataclass(frozen=True)
class SweepResults:
    """All trials of a sweep.

    Attributes:
      name: of the sweep.
      compared: the axis whose values are compared.
      stages: names in their order; the last one's runs are compared.
      trials: by number.
      conditions: axes of what is given, as noise in the data: runs are compared within
        each of their values, and settings are chosen for each.
    """

    name: str
    compared: str
    stages: Sequence[str]
    trials: Sequence[SweptTrial]
    conditions: Sequence[str] = ()

    def write(self, folder: pathlib.Path) -> None:
        """Writes `sweep.json` into the sweep's folder, whole."""
        write_json(folder / RESULTS, _plain(dataclasses.asdict(self)))

    @classmethod
    def read(cls, folder: pathlib.Path) -> Self:
        """What :meth:`write` wrote; fields that only a newer version knows are left out.

        Raises:
          DataError: the file is missing or damaged.
        """
        path = folder / RESULTS
        try:
            content = json.loads(path.read_text("utf-8"))
            trials = [_of_fields(SweptTrial, one) for one in content["trials"]]
            if unknown := {one.state for one in trials} - {*STATES}:
                raise ValueError(f"no trial can be {', '.join(sorted(unknown))}")
            found = _of_fields(cls, content | {"trials": tuple(trials)})
            if not found.stages:
                raise ValueError("it names no stage")
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} cannot be read ({error!r}): it is written by `dro-jax sweep`, "
                "and the same command writes it again"
            ) from error


def _of_fields(kind: type, content: Mapping[str, Any]) -> Any:
    """An instance, lists as tuples."""
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
            if name in known
        }
    )


def _plain(value: Any) -> Any:
    """What JSON holds: of an axis' value that is no number and no text, its text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
