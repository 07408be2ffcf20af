"""Leaving in good order when the machine is taken away (SIGTERM), or on Ctrl-C."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

# What a shell reports for a process that a signal ended: 128 + its number.
EXIT_CODE = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
# How long the main thread may be inside a C library before a thread acts for it.
_PATIENCE_SECONDS = 2.0
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class Preempted(SystemExit):
    """The run was told to stop, and saved where it was; the code is 143, or 130."""

    def __init__(self, message: str, code: int = EXIT_CODE):
        super().__init__(code)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignal:
    """Whether the run was told to stop."""

    def __init__(self):
        self._received = threading.Event()
        self._signal = signal.SIGTERM
        self._first_step: int | None = None
        self.has_work = False

    def request(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask the run to stop at the next step."""
        self._signal = by
        self._received.set()

    @property
    def received(self) -> bool:
        """Whether this process was asked; whoever looks has something to keep."""
        self.has_work = True
        return self._received.is_set()

    def stopped(self, message: str) -> Preempted:
        """What to raise: `stopped by SIGTERM` and the message, with its exit code."""
        return Preempted(
            f"stopped by {_NAMES[self._signal]} {message}", 128 + self._signal
        )

    def stop_now(self, step: int) -> bool:
        """Whether to stop after `step` updates; the same answer on every host.

        Over several hosts the first to be told tells the others, and all of them agree
        on a step; call it at every step.
        """
        if self._first_step is None:
            self._first_step = step
        # While the first step compiles there is nothing yet to save.
        self.has_work = step > self._first_step
        if jax.process_count() == 1:
            return self._received.is_set()
        # Hosts that stopped at different steps would wait for one another for ever, in
        # the next step's collectives or in the save.
        return multihost_utils.reached_preemption_sync_point(step)


@contextlib.contextmanager
def listening() -> Iterator[StopSignal]:
    """Turns SIGTERM and Ctrl-C into a request while the block runs, in the main thread.

    A Ctrl-C before anything is to be saved is a KeyboardInterrupt, and a second one ends
    the process at once.
    """
    stop = StopSignal()
    # JAX's own handler serves several hosts; threads cannot set handlers at all.
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or jax.process_count() > 1:
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.request())
    try:
        with _interrupts(stop):
            yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _interrupts(stop: StopSignal) -> Iterator[None]:
    keys = _Keys(stop)
    before = signal.signal(signal.SIGINT, keys.on_signal)
    reader, writer = os.pipe()
    # A full pipe must not hold up the C handler, which writes to it.
    os.set_blocking(writer, False)
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=keys.watch, args=(reader,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before_fd)
        signal.signal(signal.SIGINT, before)
        os.close(writer)  # ends the thread


class _Keys:
    """Ctrl-C, wherever the main thread is.

    Python runs a handler between two of its own instructions, so not while XLA compiles.
    Python's C handler writes to a pipe at once: a thread reads there, and acts where the
    handler does not come in time.
    """

    def __init__(self, stop: StopSignal):
        self._stop = stop
        self._asked = False
        self._handled = threading.Event()
        self._late = 0

    def on_signal(self, *_) -> None:
        if self._late:  # the thread was before
            self._late -= 1
            return
        self._handled.set()
        if self._asked:
            self._end("ended at once")
        if not self._stop.has_work:
            raise KeyboardInterrupt
        self._ask()

    def watch(self, reader: int) -> None:
        count = 0
        with open(reader, "rb", buffering=0) as pipe:
            while received := pipe.read(1):
                if received[0] != signal.SIGINT:
                    continue
                count += 1
                if self._handled.wait(_PATIENCE_SECONDS if count == 1 else 0.2):
                    self._handled.clear()
                    continue
                self._late += 1
                if count > 1:
                    self._end("ended at once")
                if not self._stop.has_work:
                    self._end("interrupted before there was anything to save")
                self._ask()

    def _ask(self) -> None:
        self._asked = True
        self._stop.request(signal.SIGINT)
        _write("Ctrl-C: saving after the step at hand. Once more ends at once")

    def _end(self, message: str) -> None:
        _write(message)
        os._exit(INTERRUPTED)


def _write(line: str) -> None:
    # A handler may come while the main thread is inside print.
    os.write(2, f"\n{line}\n".encode())
