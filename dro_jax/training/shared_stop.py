"""Several processes that stop at the same place in what they do.

Those that stopped at different steps would wait for one another for ever, in the next
step's collectives or in the save.
"""

import functools
import queue
import signal
import threading

from dro_jax.training import hosts
from dro_jax.training.host_news import Item, news

_KIND = "stop"


class SharedStop:
    """A stop that all processes of a run make at the same of their calls.

    All count their calls of :meth:`is_here`. Where one process is told to stop it tells
    all. A thread of each then holds the count, for as long as it takes to hear those of
    the others, and the call after the largest is the one at which all stop: nobody has
    made it yet, and everybody will.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._calls = 0
        self._last: int | None = None
        # Stops before this one, of runs that the process caught the end of.
        self._round = 0
        self._requests: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        self.signal = signal.SIGTERM
        news().on(_KIND, self._on_request)
        threading.Thread(target=self._tell, name="stop", daemon=True).start()

    def request(self, by: signal.Signals) -> None:
        """Asks for a stop; returns at once, and may be called by a signal's handler."""
        self._requests.put(by)

    def is_here(self) -> bool:
        """Whether to stop at this call."""
        with self._lock:
            self._calls += 1
            return self._last is not None and self._calls >= self._last

    def begin(self) -> None:
        """A new run begins, in all processes; a stop that all have made is over."""
        with self._lock:
            if self._last is not None and self._calls >= self._last:
                self._last = None
                self._round += 1

    def leave(self, status: int, words: str) -> None:
        """Ends all processes at once."""
        news().leave(status, words)

    def _tell(self) -> None:
        while True:
            by = self._requests.get()
            news().tell(_KIND, by=int(by), round=self._round)

    def _on_request(self, item: Item) -> None:
        # By a thread, since the last words of another must be heard meanwhile.
        threading.Thread(target=self._agree, args=(item,), daemon=True).start()

    def _agree(self, item: Item) -> None:
        with self._lock:
            if self._last is not None or item["round"] != self._round:
                return
            key = f"dro_jax/stops/{self._round}"
            self._last = max(hosts.exchange_at(key, self._calls)) + 1
            self.signal = signal.Signals(item["by"])


@functools.cache
def shared_stop() -> SharedStop:
    """The process's; counts from when it is first asked for, as all must."""
    return SharedStop()
