"""The loop itself: steps, metrics, evaluations and saves in their order."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dro_jax import metrics as metrics_lib
from dro_jax.errors import TrainingError
from dro_jax.training.checkpoints import Checkpointer
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.progress import Progress
from dro_jax.training.state import TrainState
from dro_jax.training.throughput import Throughput

HostBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Periods:
    """Steps between lines of metrics, evaluations and saves."""

    log: int
    evaluate: int
    save: int


class Loop:
    """Runs a train step until a given step.

    Args:
      train_step: `(state, batch) -> (state, metrics)`, jitted, asynchronous.
      evaluate: `(params) -> metrics` on held-out data, or None.
      rates: the learning rates of a step, to log.
      checkpointer: where states are saved.
      writer: where metrics go.
      periods: when each of these happens; all happen at the last step.
    """

    def __init__(
        self,
        *,
        train_step: Callable[[TrainState, HostBatch], Any],
        evaluate: Callable[[Any], dict[str, float]] | None,
        rates: Callable[[int], dict[str, float]],
        checkpointer: Checkpointer,
        writer: MetricWriter,
        periods: Periods,
    ):
        self._train_step = train_step
        self._evaluate = evaluate
        self._rates = rates
        self._checkpointer = checkpointer
        self._writer = writer
        self._periods = periods
        self._window: list[metrics_lib.Metrics] = []
        self._evaluation: dict[str, float] = {}

    def run(
        self, state: TrainState, batches: Iterator[HostBatch], total_steps: int
    ) -> TrainState:
        """Train from `state` to `total_steps`; the last state is saved.

        Raises:
          TrainingError: a loss or gradient is not finite, or the data ran out.
        """
        step = int(state.step)
        throughput = Throughput(
            sum(x.size for x in jax.tree.leaves(state.params))
        )
        with Progress("train", total_steps, start=step) as progress:
            while step < total_steps:
                state, metrics = self._train_step(state, _next(batches, step))
                self._window.append(metrics)
                self._keep_pace()
                step += 1
                progress.advance()
                due = self._due(step, total_steps)
                if not any(dataclasses.astuple(due)):
                    continue
                record = self._close_window(step, throughput)
                if due.evaluate:
                    self._evaluation = self._evaluate(state.params)
                    record |= self._evaluation
                self._writer.write(step, record)
                progress.say(_summary(record))
                if due.save:
                    self._checkpointer.save(state, self._evaluation)
                throughput.restart()
        self._checkpointer.wait()
        return state

    def _due(self, step: int, total_steps: int) -> Periods:
        last = step == total_steps
        periods = self._periods
        return Periods(
            log=last or step % periods.log == 0,
            evaluate=self._evaluate is not None
            and (last or step % periods.evaluate == 0),
            save=last or step % periods.save == 0,
        )

    def _keep_pace(self) -> None:
        # One step ahead of the device is enough to hide the host's work; further ahead
        # the progress bar would show dispatches, and batches would pile up.
        if len(self._window) > 1:
            jax.block_until_ready(self._window[-2])

    def _close_window(self, step: int, throughput: Throughput) -> dict[str, float]:
        window = jax.device_get(self._window)
        self._window = []
        first = step - len(window)
        for offset, metrics in enumerate(window):
            _check_finite(metrics, first + offset)
        merged = window[0]
        for metrics in window[1:]:
            merged = jax.tree.map(np.add, merged, metrics)
        values = metrics_lib.compute(merged)
        return (
            values
            | self._rates(step - 1)
            | throughput.measure(len(window), values)
        )


def _next(batches: Iterator[HostBatch], step: int) -> HostBatch:
    try:
        return next(batches)
    except StopIteration:
        raise TrainingError(
            f"the training data ran out at step {step}: set num_epochs = None to "
            "repeat it, or lower TRAIN_STEPS"
        ) from None


def _check_finite(metrics: metrics_lib.Metrics, step: int) -> None:
    for name in ("loss", "grad_norm"):
        value = metrics[name].compute()
        if not math.isfinite(value):
            terms = {n: m.compute() for n, m in metrics.items()}
            shown = ", ".join(f"{n} = {v:.4g}" for n, v in terms.items())
            raise TrainingError(
                f"{name} is {value} in the step from {step} to {step + 1}; nothing was "
                f"saved since the last checkpoint. The step's terms: {shown}. Lower the "
                "learning rate, set max_grad_norm, or look at the rewards with "
                "`dro-jax tasks inspect`"
            )


def _summary(record: dict[str, float]) -> str:
    names = ("loss", "rewards/mean", "kl", "value/explained_variance", "eval/loss")
    return "  ".join(f"{name} {record[name]:.4g}" for name in names if name in record)
