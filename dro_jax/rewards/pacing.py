"""When a request to a server may be sent: its rate, its pauses and its waits."""

import random
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """The time, and how to let it pass; tests have one of their own."""

    def now(self) -> float:
        """Seconds, from anywhere."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, as servers name dates."""
        ...

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Returns after so many seconds, or when the event is set."""
        ...

    def draw(self) -> float:
        """A random number from 0 to 1, so that many clients do not return at once."""
        ...


class SystemClock:
    """The computer's."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    draw = staticmethod(random.random)

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        stopped.wait(seconds)


class Pace:
    """Lets the requests of several threads through, one after another where they must.

    Args:
      requests_per_minute: at most so many, evenly spaced; 0, no limit.
      clock: what tells and passes the time.
      stopped: is set when no more is to be sent; waits then end at once.
    """

    def __init__(
        self, requests_per_minute: float, clock: Clock, stopped: threading.Event
    ):
        self._between = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._clock, self._stopped = clock, stopped
        self._lock = threading.Lock()
        self._next = self._resumed = clock.now()

    def wait_for_turn(self) -> None:
        """Returns when this thread may send a request."""
        while not self._stopped.is_set():
            with self._lock:
                now = self._clock.now()
                # A pause that another thread has just been told of holds for all.
                ready = max(self._next, self._resumed)
                if now >= ready:
                    self._next = now + self._between
                    return
            self._clock.wait(ready - now, self._stopped)

    def pause_all(self, seconds: float) -> None:
        """Sends nothing for so long: the server has asked for it."""
        with self._lock:
            self._resumed = max(self._resumed, self._clock.now() + seconds)

    def wait(self, seconds: float) -> None:
        """Lets one thread wait, while others go on."""
        if seconds > 0:
            self._clock.wait(seconds, self._stopped)


def backoff(attempt: int, first: float, longest: float, draw: float) -> float:
    """Seconds to wait after a failure: min(longest, first · 2^attempt) · (1 + draw) / 2.

    Args:
      attempt: how many have failed before this one.
      first, longest: seconds.
      draw: a random number from 0 to 1.
    """
    return min(longest, first * 2.0 ** min(attempt, 60)) * (1.0 + draw) / 2.0
