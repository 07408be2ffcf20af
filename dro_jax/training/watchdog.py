"""Ends a run that is stuck, and shows where it hangs."""

import faulthandler
import sys
from typing import Self

from dro_jax.errors import ConfigError


class Watchdog:
    """Exits with code 1 and every thread's stack when nothing happens for too long.

    Python's own `faulthandler` watches from a thread that needs no interpreter
    lock, so a hang inside a C library is seen too.

    Args:
      seconds: the longest time between two :meth:`reset` calls; None never ends a run.

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

    def __enter__(self) -> Self:
        self.reset()
        return self

    def __exit__(self, *_) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()

    def reset(self) -> None:
        """Something happened: start counting anew."""
        if self._seconds is not None:
            # In the interpreter's C code, which ends the process even where a hung library
            # holds the interpreter's lock; no Python thread could.
            # The real standard error: a test runner's stand-in has no descriptor.
            faulthandler.dump_traceback_later(
                self._seconds, exit=True, file=sys.__stderr__
            )
