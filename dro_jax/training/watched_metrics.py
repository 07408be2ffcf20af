"""Somebody who is told a run's metrics as they are written, and may end it early."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dro_jax.errors import Pruned
from dro_jax.training import hosts

# Given a step and what was measured there; raises `Pruned` to end the run.
OnMetrics = Callable[[int, Mapping[str, float]], None]


class MetricWatch:
    """Tells each line of `metrics.jsonl` to a function, and keeps what it decides.

    Of several processes the first tells its own, and all know the decision.

    Args:
      on_metrics: the function; None, nobody watches. All processes of a run have one,
        or none has.
    """

    def __init__(self, on_metrics: OnMetrics | None = None):
        self._on_metrics = on_metrics
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the run is to end before its last step; None where it is not."""
        return self._reason

    def tell(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tells one line that has just been written."""
        self._tell(lambda: [(step, metrics)])

    def tell_earlier(self, lines: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Tells what a run wrote that now goes on.

        Whoever watched it then may be gone with what he knew; one who is not hears some
        steps a second time.

        Args:
          lines: reads those of the file; called on the first process alone.
        """
        self._tell(lambda: [_of_line(line) for line in lines()])

    def _tell(self, news: Callable[[], list[tuple[int, Mapping[str, float]]]]) -> None:
        if self._on_metrics is None:
            return

        def reason() -> str | None:
            try:
                for step, metrics in news():
                    self._on_metrics(step, metrics)
            except Pruned as pruned:
                return str(pruned)
            return None

        self._reason = hosts.first_says(reason) or self._reason


def _of_line(line: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Step and metrics of a line, in which null is what was not finite."""
    metrics = {
        name: math.nan if value is None else value
        for name, value in line.items()
        if name != "step"
    }
    return line["step"], metrics
