"""Ends a run that is stuck, and shows where it hangs."""

import contextlib
import faulthandler
import signal
import sys
import threading
from typing import Self

from dro_jax import moving
from dro_jax.errors import ConfigError

# For the stacks to be written before the process ends.
_WRITING_SECONDS = 2.0


class Watchdog:
    """Ends with `exit_codes.STUCK` and every thread's stack when nothing happens.

    Python's own `faulthandler` writes the stacks, from a thread that needs no interpreter
    lock; two seconds later the kernel's alarm clock ends the process. Neither needs the
    process itself, so a hang inside a C library that holds the lock is ended too, and a
    process that was stopped ends when it goes on.

    Args:
      seconds: the longest time between two :meth:`reset` calls; None never ends a run.
        What says `dro_jax.moving.goes_on`, as the preparation of data, resets it.

    Raises:
      ConfigError: the seconds are not positive.
    """

    def __init__(self, seconds: float | None):
        if seconds is not None and not seconds > 0:
            raise ConfigError(
                f"watchdog_seconds = {seconds} (WATCHDOG_SECONDS): give the seconds "
                "without a step that end a run, or None for a run that never ends so"
            )
        self._seconds = seconds
        self._before = None
        self._hears = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # The alarm's own action is to end the process; nothing here handles it, but
        # whoever calls this may. Threads can set no handlers.
        if self._watches and _is_main_thread():
            self._before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.reset()
        self._hears.enter_context(moving.heard_by(self.reset))
        return self

    def __exit__(self, *_) -> None:
        self._hears.close()
        if not self._watches:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        if self._before is not None:
            signal.signal(signal.SIGALRM, self._before)

    def reset(self) -> None:
        """Something happened: start counting anew."""
        if self._watches:
            signal.setitimer(signal.ITIMER_REAL, self._seconds + _WRITING_SECONDS)
            # The real standard error: a test runner's stand-in has no descriptor.
            faulthandler.dump_traceback_later(self._seconds, file=sys.__stderr__)

    @property
    def _watches(self) -> bool:
        return self._seconds is not None


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
