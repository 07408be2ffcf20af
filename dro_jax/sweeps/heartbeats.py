"""The thread by which a worker shows that it lives while it runs a trial."""

import threading
import time

import optuna
import sqlalchemy

from dro_jax.sweeps.storage import HEARTBEAT_SECONDS
from dro_jax.sweeps.tries import SECONDS


class Heartbeats:
    """Beats until it is stopped, and keeps the seconds spent so far.

    Optuna's own thread belongs to `Study.optimize`, which calls a function of a trial;
    here a trial is claimed and ended.
    """

    def __init__(self, storage: optuna.storages.RDBStorage, trial_id: int):
        self._storage, self._trial_id = storage, trial_id
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, name=f"heartbeats of {trial_id}", daemon=True
        )
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._start

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        # The first one was recorded when the trial was claimed.
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                self._storage.record_heartbeat(self._trial_id)
                self._storage.set_trial_user_attr(
                    self._trial_id, SECONDS, round(self.seconds, 3)
                )
            except optuna.exceptions.UpdateFinishedTrialError:
                return  # another worker took it up, as whoever ends the trial will see
            except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError):
                pass  # a server that is away for less than the grace period does no harm
            finally:
                self._storage.remove_session()
