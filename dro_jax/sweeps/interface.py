"""What passes between a sweep's plan, the storage of its trials, and its workers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True)
class PlannedTrial:
    """A run that is to be made once.

    Attributes:
      stage: its stage's name.
      key: digest of its stage, of all that its run reads and of the runs that it builds
        on: equal trials have equal keys, whoever plans them and whenever, so that a plan
        that grows adds only what is new.
      label: what tables call it.
      values: by axis, as `SweptTrial.values`.
      gin_files: as those of `dro-jax train`, in their order; `$NAME` as in a stage.
      bindings: `NAME = VALUE`; `$NAME` likewise.
      unused: what was given to it and has no effect on it.
      seed_axis: the axis of its seed.
      builds_on: by the NAME of a `$NAME` in it, the key of the trial that is meant.
      metric: what a search makes of it when it is done (`Search.metric`).
    """

    stage: str
    key: str
    label: str
    values: Mapping[str, Any]
    gin_files: Sequence[str]
    bindings: Sequence[str]
    unused: Sequence[str] = ()
    seed_axis: str | None = None
    builds_on: Mapping[str, str] = dataclasses.field(default_factory=dict)
    metric: str | None = None


class ClaimedTrial(Protocol):
    """A trial that this worker alone runs now; it must end by one of the three calls.

    While it is held, a thread shows the storage that its worker lives.

    Attributes:
      number: of the first try, which names the folder, whatever try this is.
      planned: what is to be run.
      tries: this one included.
    """

    number: int
    planned: PlannedTrial
    tries: int

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tells what was measured at a step.

        Raises:
          Pruned: others do better (`dro_jax.errors`); what `train` is given as
            `on_metrics`, so that a step may be told twice: where a run goes on.
        """

    def complete(
        self, value: float | None, *, steps: int | None, tokens: int | None
    ) -> None:
        """It is done; `value` is the search's metric."""

    def fail(self, reason: str) -> None:
        """It cannot be done: an error that another try would meet again."""

    def prune(self, reason: str) -> None:
        """It ended early, as others do better."""

    def give_back(self) -> None:
        """It was interrupted: whoever comes next goes on with it in its folder."""


class TrialStore(Protocol):
    """The trials of a sweep, on a storage that several workers share."""

    def add(self, planned: Sequence[PlannedTrial]) -> int:
        """Adds those whose keys are not there yet; returns how many."""

    def claim(
        self, stage: str, keys: Sequence[str] | None = None
    ) -> ClaimedTrial | None:
        """The next trial of a stage that waits, or whose worker is gone; or None.

        Args:
          stage: its name.
          keys: those that are asked for, the first one first, since a storage may hold
            trials that an earlier plan asked for; None, all, in the order in which they
            were added.
        """

    def unfinished(self, stage: str, keys: Sequence[str] | None = None) -> int:
        """How many of a stage's trials, or of those asked for, wait or run."""

    def again(self, keys: Sequence[str]) -> int:
        """Lets those of these that failed wait once more; returns how many."""

    def trials(self) -> list[Any]:
        """All of them, as `dro_jax.sweeps.results.SweptTrial`."""
