"""What is known of a sweep's trials, as `sweep.json` in its folder tells a report."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

RESULTS = "sweep.json"


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
    key: str = ""


@dataclasses.dataclass(frozen=True)
class SweepResults:
    """All trials of a sweep.

    Attributes:
      name: of the sweep.
      compared: the axis whose values are compared.
      stages: names in their order; the last one's runs are compared.
      trials: by number.
    """

    name: str
    compared: str
    stages: Sequence[str]
    trials: Sequence[SweptTrial]
