"""Metrics of the steps since the last line of the log."""

from dro_jax import metrics as metrics_lib
from dro_jax.training.run_progress import RunProgress


class MetricWindow:
    """Adds up steps' metrics in their order; steps stay on the device until asked for.

    The order makes a resumed run's sums bitwise those of an uninterrupted one.
    """

    def __init__(self, progress: RunProgress | None = None):
        progress = progress or RunProgress()
        self._sums = progress.window
        self._done = progress.window_steps
        self._pending: list[metrics_lib.Metrics] = []
        self._before = (progress.window_steps, progress.window or {})

    def since_start(self, values: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Steps, and counts among `values`, of this process alone, to time them."""
        steps, sums = self._before
        counts = {
            name: values[name] - (sums[name].compute() if name in sums else 0.0)
            for name in ("num_tokens", "num_trajectories")
        }
        return self.num_steps - steps, counts

    @property
    def num_steps(self) -> int:
        """Steps added."""
        return self._done + len(self._pending)

    def add(self, metrics: metrics_lib.Metrics) -> None:
        """Add a step's metrics."""
        self._pending.append(metrics)

    def sums(self) -> metrics_lib.Metrics | None:
        """The sums over all steps, on the host; waits for the last step."""
        # One transfer for all steps; added one by one, for float sums depend on order.
        for metrics in metrics_lib.to_host(self._pending):
            first = self._sums is None
            self._sums = metrics if first else metrics_lib.merge(self._sums, metrics)
            self._done += 1
        self._pending = []
        return self._sums
