"""What a search does to the trials of a storage: values for ranges, and early ends."""

from collections.abc import Mapping
from typing import Any, Protocol

from dro_jax.sweeps.interface import PlannedTrial


class SearchHooks(Protocol):
    """Called by the store; `study` and `trial` are Optuna's."""

    def draw(self, study: Any, trial: Any, planned: PlannedTrial) -> PlannedTrial:
        """The trial with a value for each of its ranges, or as it is if it has none.

        Called at a trial's first try, while no other worker can claim or end one: what
        it sees of the study stays so until it returns. Later tries take what it returned.
        It is called once more where the worker dies just then, with what `trial` has
        drawn. The key, stage and seed's axis stay.

        Args:
          study: an `optuna.Study` of all stages; `tries.planned_of(row)` is the plan of
            one of its rows.
          trial: the `optuna.trial.Trial` of this try; it waits until this returns.
          planned: as it was added.
        """

    def report(
        self,
        study: Any,
        trial: Any,
        planned: PlannedTrial,
        step: int,
        metrics: Mapping[str, float],
    ) -> None:
        """Keeps what was measured, and may end the trial.

        Args:
          study, trial, planned: as in `draw`.
          step: of its training.
          metrics: by name.

        Raises:
          dro_jax.errors.Pruned: others do better.
        """
