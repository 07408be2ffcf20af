"""Leaving in good order when the machine is taken away (SIGTERM)."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

# What a shell reports for a process that SIGTERM ended: 128 + 15.
EXIT_CODE = 143


class Preempted(SystemExit):
    """The run was told to stop, and saved where it was; the exit code is 143."""

    def __init__(self, message: str):
        super().__init__(EXIT_CODE)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignal:
    """Whether the run was told to stop."""

    def __init__(self):
        self._received = threading.Event()

    def request(self) -> None:
        """Ask the run to stop at the next step."""
        self._received.set()

    @property
    def received(self) -> bool:
        """Whether this process was asked."""
        return self._received.is_set()

    def stop_now(self, step: int) -> bool:
        """Whether to stop after `step` updates; the same answer on every host.

        Over several hosts the first to be told tells the others, and all of them agree
        on a step; call it at every step.
        """
        if jax.process_count() == 1:
            return self.received
        return multihost_utils.reached_preemption_sync_point(step)


@contextlib.contextmanager
def listening() -> Iterator[StopSignal]:
    """Turns SIGTERM into a request while the block runs, in the main thread."""
    stop = StopSignal()
    # JAX's own handler serves several hosts; threads cannot set handlers at all.
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or jax.process_count() > 1:
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.request())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
