"""The loop itself: steps, metrics, evaluations and saves in their order."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax

from dro_jax import metrics as metrics_lib
from dro_jax.data.interface import HostBatch
from dro_jax.errors import Pruned, ServerError, UserError
from dro_jax.messages import say
from dro_jax.progress_bar import ProgressBar
from dro_jax.training.checkpoints import Checkpointer
from dro_jax.training.feed import Feed
from dro_jax.training.metric_window import MetricWindow
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.non_finite import NonFiniteGuard, check_not_all_skipped
from dro_jax.training.preemption import StopSignal
from dro_jax.training.run_files import PRUNED
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.run_settings import Periods
from dro_jax.training.state import TrainState
from dro_jax.training.throughput import Throughput
from dro_jax.training.watchdog import Watchdog
from dro_jax.training.watched_metrics import MetricWatch

Evaluate = Callable[[Any, Callable[[], bool]], dict[str, float]]


class Loop:
    """Runs a train step until a given step.

    Args:
      train_step: `(state, batch) -> (state, metrics)`, jitted, asynchronous.
      evaluate: `(state, tick) -> metrics` on held-out data, or None; it calls `tick`
        once a batch, and stops early where that is true.
      rates: the learning rates of a step, to log.
      checkpointer: where states are saved.
      writer: where metrics go.
      periods: when each of these happens; all happen at the last step.
      throughput: measures the steps' rates.
      guard: looks at each step's numbers.
      stop: whether the run was told to stop.
      watchdog: ends the run where it hangs.
      watch: is told each line of metrics, and may end the run before its last step.
    """

    def __init__(
        self,
        *,
        train_step: Callable[[TrainState, HostBatch], Any],
        evaluate: Evaluate | None,
        rates: Callable[[int], dict[str, float]],
        checkpointer: Checkpointer,
        writer: MetricWriter,
        periods: Periods,
        throughput: Throughput,
        guard: NonFiniteGuard,
        stop: StopSignal,
        watchdog: Watchdog,
        watch: MetricWatch,
    ):
        self._train_step = train_step
        self._evaluate = evaluate
        self._rates = rates
        self._checkpointer = checkpointer
        self._writer = writer
        self._periods = periods
        self._throughput = throughput
        self._guard = guard
        self._stop = stop
        self._watchdog = watchdog
        self._watch = watch

    def run(
        self,
        state: TrainState,
        feed: Feed,
        total_steps: int,
        progress: RunProgress,
    ) -> TrainState:
        """Train from `state` to `total_steps`; the last state is saved.

        Args:
          state: where the run is.
          feed: the data from where `progress` is.
          total_steps: the step to stop at.
          progress: what the checkpoint of `state` says beside it.

        Raises:
          TrainingError: a loss or gradient is not finite, or the data ran out.
          Preempted: the run was told to stop; its state is saved.
          Pruned: who watches its metrics ended it; its state is saved.
        """
        at = _Place(int(state.step), progress)
        throughput = self._throughput
        throughput.restart()
        # The first call compiles, which is no step's time.
        apart, compiling = throughput.apart(), True
        with ProgressBar("train", total_steps, start=at.step) as bar:
            while True:
                # The line comes before the save, which then knows the evaluation that
                # ranks it, and before the stop, so that what was measured is not lost.
                # A line that is written and not yet saved is dropped by the run that
                # resumes from the save before, and written again.
                if at.line_due:
                    self._write_line(state, at, total_steps, bar, feed)
                stopping = self._stop.stop_now(at.step)
                # A run that has come to its end is finished, whatever is said of it.
                pruned = self._watch.reason is not None and at.step < total_steps
                leaving = stopping or pruned
                if at.step and (leaving or self._is(at, total_steps, "save")):
                    # The guard is one step behind: nothing that is not finite is saved.
                    self._guard.check()
                    # Apart: the steps since the last line keep their time.
                    with throughput.apart():
                        self._checkpointer.save(state, at.progress())
                    self._watchdog.reset()
                    bar.restart()
                if stopping:
                    self._leave(at.step)
                if pruned:
                    self._leave_pruned(at.step)
                if at.step >= total_steps:
                    break
                batch = self._next(state, at, feed)
                if batch is None:  # told to stop while it was made
                    continue
                if compiling:
                    say("compiling the train step …")
                    began = time.monotonic()
                with apart:
                    state, metrics = self._train_step(state, batch)
                apart = contextlib.nullcontext()
                # Waits for the step before, so that the host is one step ahead and no
                # more: enough to hide its work, and few enough collectives in flight.
                self._guard.watch(at.step, metrics, batch)
                self._watchdog.reset()
                at.advance(metrics, feed.place())
                bar.advance()
                if compiling:
                    # Only here the step itself is waited for, to tell its time.
                    jax.block_until_ready(metrics)
                    say(f"first step done in {time.monotonic() - began:.1f} s")
                    # Which says nothing about the time that is left.
                    bar.restart()
                    compiling = False
                at.line_due = self._is(at, total_steps, "log") or (
                    self._evaluate is not None and self._is(at, total_steps, "evaluate")
                )
        self._checkpointer.wait()
        return state

    def _is(self, at: "_Place", total_steps: int, what: str) -> bool:
        """Whether it is time for something that comes in periods."""
        period = getattr(self._periods, what)
        return at.step == total_steps or at.step % period == 0

    def _write_line(self, state, at, total_steps, bar, feed) -> None:
        self._guard.check()
        bar.lap()
        steps = at.window.num_steps
        values = metrics_lib.compute(at.window.sums())
        check_not_all_skipped(values, steps)
        timed_steps, counts = at.window.since_start(values)
        record = values | self._rates(at.step - 1) | feed.metrics()
        if timed_steps:
            record |= self._throughput.measure(timed_steps, counts)
        if self._evaluate is not None and self._is(at, total_steps, "evaluate"):
            # An evaluation cut short is done again by the run that resumes.
            if self._stop.now():
                return
            evaluation = self._evaluated(state, at)
            if self._stop.now():
                return
            at.evaluation = evaluation
            record |= evaluation
        self._writer.write(at.step, record)
        self._watch.tell(at.step, record)
        bar.say(*_summary(record))
        at.window, at.line_due = MetricWindow(), False
        self._throughput.restart()
        bar.restart()

    def _evaluated(self, state: TrainState, at: "_Place") -> dict[str, float]:
        """The evaluation of a state, which is kept where that is refused."""
        try:
            return self._evaluate(state, self._tick)
        except UserError:
            # A server of rewards is away, say: the run that resumes evaluates again.
            self._checkpointer.save(state, at.progress())
            self._checkpointer.wait()
            raise

    def _next(self, state, at: "_Place", feed: Feed) -> HostBatch | None:
        """The next batch; where a server of rewards is away, the state is kept."""
        try:
            return feed.next(state, self._tick, self._guard.check)
        except ServerError:
            # All processes have it of the first. The run that resumes asks again.
            if at.step:
                self._guard.check()
                self._checkpointer.save(state, at.progress())
                self._checkpointer.wait()
            raise

    def _tick(self) -> bool:
        self._watchdog.reset()
        return self._stop.now()

    def _leave(self, step: int) -> None:
        # Saves run in the background, and the process is about to end.
        self._checkpointer.wait()
        saved = "its state is saved, and" if step else "nothing was to be saved;"
        raise self._stop.stopped(
            f"after step {step}: {saved} the same command goes on from there"
        )

    def _leave_pruned(self, step: int) -> None:
        # Saved like a run that was told to stop, so that a person can still look at it,
        # or go on with it.
        self._checkpointer.wait()
        reason = self._watch.reason
        self._writer.write_facts(PRUNED, {"step": step, "reason": reason})
        raise Pruned(reason)


class _Place:
    """Where a run is, on the host."""

    def __init__(self, step: int, progress: RunProgress):
        self.step = step
        self.data = {"position": progress.position, "samples": progress.samples}
        self.evaluation = progress.evaluation
        self.line_due = progress.line_due
        self.identity = progress.identity
        self.window = MetricWindow(progress)

    def advance(self, metrics: metrics_lib.Metrics, data: dict[str, Any]) -> None:
        self.step += 1
        self.evaluation = {}
        self.data = data
        self.window.add(metrics)

    def progress(self) -> RunProgress:
        steps = self.window.num_steps
        return RunProgress(
            **self.data,
            window=self.window.sums(),
            window_steps=steps,
            evaluation=self.evaluation,
            line_due=self.line_due,
            identity=self.identity,
        )


def _summary(record: dict[str, float]) -> list[str]:
    names = (
        "loss",
        "eval/loss",
        "kl",
        "rewards/mean",
        "samples/reward",
        "value/explained_variance",
        "eval/pearson",
        "eval/pair_accuracy",
        "eval/sampled/reward",
        "eval/sampled/kl",
    )
    # Judges have names of their own.
    names += tuple(n for n in record if n.startswith("eval/sampled/win_rate/"))
    return [f"{name} {record[name]:.4g}" for name in names if name in record]
