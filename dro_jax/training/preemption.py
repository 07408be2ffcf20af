"""Leaving in good order when the machine is taken away (SIGTERM), or on Ctrl-C."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from dro_jax import exit_codes
from dro_jax.training import hosts
from dro_jax.training.shared_stop import SharedStop, shared_stop

EXIT_CODE = exit_codes.PREEMPTED.number
INTERRUPTED = exit_codes.INTERRUPTED.number
# How long the main thread may be inside a C library before a thread acts for it.
_PATIENCE_SECONDS = 2.0
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class Preempted(SystemExit):
    """The run was told to stop, and saved where it was; the code is 143, or 130.

    Args:
      message: for people.
      code: the exit status.
      by_all: whether all processes of the run agreed on it, and end like this one.
    """

    def __init__(self, message: str, code: int = EXIT_CODE, *, by_all: bool = False):
        super().__init__(code)
        self.message = message
        self.by_all = by_all

    def __str__(self) -> str:
        return self.message


class StopSignal:
    """Whether the run was told to stop.

    Args:
      shared: what makes several processes stop at the same place; None for one.
    """

    def __init__(self, shared: SharedStop | None = None):
        self._shared = shared
        self._asked = threading.Event()
        self._signal = signal.SIGTERM
        self._first_step: int | None = None
        self.has_work = False

    def request(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask the run, in all its processes, to stop at the next place where it can."""
        self._signal = by
        if self._shared is None:
            self._asked.set()
        else:
            self._shared.request(by)

    def now(self) -> bool:
        """Whether to stop here; whoever asks has something to keep.

        Over several processes the answer is the same in all. They must ask equally often:
        once a batch, say. Once it is true it stays so.
        """
        self.has_work = True
        return self._is_told()

    def stop_now(self, step: int) -> bool:
        """The same after `step` updates; before the first there is nothing to keep."""
        if self._first_step is None:
            self._first_step = step
        # While the first step compiles there is nothing yet to save.
        self.has_work = step > self._first_step
        return self._is_told()

    def stopped(self, message: str) -> Preempted:
        """What to raise: `stopped by SIGTERM` and the message, with its exit code."""
        by = self._signal if self._shared is None else self._shared.signal
        return Preempted(
            f"stopped by {_NAMES[by]} {message}",
            128 + by,
            by_all=self._shared is not None,
        )

    def end(self, message: str) -> NoReturn:
        """Ends this process at once, for a Ctrl-C, and those of its run with it."""
        if self._shared is not None:
            self._shared.leave(INTERRUPTED, message)
        os._exit(INTERRUPTED)

    def _is_told(self) -> bool:
        return self._asked.is_set() if self._shared is None else self._shared.is_here()


@contextlib.contextmanager
def listening() -> Iterator[StopSignal]:
    """Turns SIGTERM and Ctrl-C into a request while the block runs, in the main thread.

    A Ctrl-C before anything is to be saved is a KeyboardInterrupt, and a second one ends
    the process at once. Where the run has several processes, all must begin to listen, and
    a signal to one stops all.
    """
    stop = StopSignal(_shared())
    # Threads cannot set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.request())
    try:
        with _interrupts(stop):
            yield stop
    finally:
        # None: a C library's (JAX's), which cannot be given back.
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _shared() -> SharedStop | None:
    if hosts.count() == 1:
        return None
    shared = shared_stop()
    shared.begin()
    return shared


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
        self._stop.end(message)


def _write(line: str) -> None:
    # A handler may come while the main thread is inside print.
    os.write(2, f"\n{line}\n".encode())
