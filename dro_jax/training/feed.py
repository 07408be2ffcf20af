"""Where the batches of a run come from, as its loop asks for them."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dro_jax.data.interface import HostBatch
from dro_jax.errors import TrainingError
from dro_jax.models.networks import Params
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.run_progress import RunProgress, position_after
from dro_jax.training.state import TrainState


class Feed(Protocol):
    """Gives batches, and knows where the one after the last begins.

    Attributes:
      reference_params: what a step is given of the reference; None where batches say
        what it says, or there is none.
    """

    reference_params: Params | None

    def next(
        self, state: TrainState, tick: Callable[[], bool], check: Callable[[], None]
    ) -> HostBatch | None:
        """This host's part of the rows of the next batch.

        Args:
          state: the run's, which may answer prompts for it.
          tick: called now and then in long work; where it is true, work ends.
          check: called before the state is asked anything; it refuses a state that a
            step made of numbers that are not finite.

        Returns:
          None where work ended so; the place is as before.

        Raises:
          TrainingError: there is no other batch.
        """
        ...

    def place(self) -> dict[str, Any]:
        """Where the next batch begins: fields of `RunProgress`."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """What a line of the log says of batches up to now."""
        ...


class LogFeed:
    """The log alone.

    Args:
      prepared: what is trained on.
      steps: says which rows are this host's.
      progress: of the checkpoint that the run goes on from.
    """

    def __init__(self, prepared: PreparedRun, steps: MeshSteps, progress: RunProgress):
        self.reference_params = prepared.step_params
        self._position = progress.position
        self._batches = prepared.train.batches(self._position, steps.shard)

    def next(
        self, state: TrainState, tick: Callable[[], bool], check: Callable[[], None]
    ) -> HostBatch:
        del tick, check
        try:
            batch = next(self._batches)
        except StopIteration:
            raise TrainingError(ran_out(state)) from None
        self._position = position_after(batch)
        return batch

    def place(self) -> dict[str, Any]:
        return {"position": self._position}

    def metrics(self) -> Mapping[str, float]:
        return {}


def ran_out(state: TrainState) -> str:
    """What to say where the log has no other batch."""
    return (
        f"the training data ran out at step {int(state.step)}: set num_epochs = None to "
        "repeat it, or lower TRAIN_STEPS"
    )
