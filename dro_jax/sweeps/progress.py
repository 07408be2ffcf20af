"""Shows how far a sweep has come: a table on a terminal, else a line for each trial."""

import contextlib
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import rich.console

from dro_jax.errors import StorageError
from dro_jax.messages import is_first, say
from dro_jax.progress_bar import shown_above_bars
from dro_jax.reporting.sweep_results import SweptTrial
from dro_jax.sweeps.progress_table import (
    ENDED,
    TimeLeft,
    ended_line,
    table,
    time_left,
)
from dro_jax.sweeps.sweep import Sweep

_SECONDS = 2.0


@contextlib.contextmanager
def shown_progress(
    trials: Callable[[], Sequence[SweptTrial]],
    folder: pathlib.Path,
    sweep: Sweep,
    *,
    workers: int = 1,
    quiet: bool = False,
    seconds: float = _SECONDS,
) -> Iterator[None]:
    """Shows a sweep's progress while the block runs, whoever runs its trials.

    On a terminal a table, above the bar of the trial that this process runs; else one line
    for each trial that ends.

    Args:
      trials: asks the storage for the sweep's, from a thread.
      folder: the sweep's.
      sweep: its description.
      workers: how many work at once, at least.
      quiet: lines, on a terminal too.
      seconds: between looks.
    """
    if not is_first():
        yield
        return
    progress = _Progress(trials, folder, sweep, workers)
    progress.look()
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty() and not quiet:
            stack.enter_context(shown_above_bars(lambda: progress.table))
            work = progress.look
        else:
            work = progress.tell_ended
        stack.enter_context(_every(seconds, work))
        yield


class _Progress:
    """What is known of a sweep, as of the last look.

    Attributes:
      table: all of it.
    """

    def __init__(self, ask, folder: pathlib.Path, sweep: Sweep, workers: int):
        self._ask, self._folder, self._sweep = ask, folder, sweep
        self._workers = workers
        self._trials: Sequence[SweptTrial] = ()
        self._began: dict[tuple[int, int], float] = {}
        self.table: rich.console.RenderableType = ""

    def look(self) -> None:
        """Asks the storage; one that is away just now is asked again later."""
        with contextlib.suppress(StorageError):
            self._trials = self._ask()
        now = time.monotonic()
        for one in self._trials:
            if one.state == "running":
                self._began.setdefault((one.number, one.tries), now)
        self.table = table(self._sweep, self._trials, self._folder, self._left())

    def tell_ended(self) -> None:
        """Looks, and tells of each trial that has ended since the last look."""
        before = {one.number for one in self._trials if one.state in ENDED}
        self.look()
        for one in self._trials:
            if one.state in ENDED and one.number not in before:
                say(ended_line(one, self._trials, self._left()))

    def _left(self) -> TimeLeft | None:
        now = time.monotonic()
        running_for = {
            one.number: now - self._began[one.number, one.tries]
            for one in self._trials
            if (one.number, one.tries) in self._began
        }
        return time_left(self._trials, self._sweep.compared, running_for, self._workers)


@contextlib.contextmanager
def _every(seconds: float, work: Callable[[], None]) -> Iterator[None]:
    """Does work in a thread while the block runs, and once at its end."""
    done = threading.Event()

    def keep_working() -> None:
        while not done.wait(seconds):
            work()

    thread = threading.Thread(target=keep_working, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        work()
