"""News that any process of a run may have for all others, at any time.

Items lie in JAX's coordination service, numbered in the order in which they came, which
is the same for all. A thread waits for the next one, so that a process hears of it
wherever its main thread is: in a collective, in a barrier, or compiling.
"""

import atexit
import collections
import contextlib
import faulthandler
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from dro_jax import exit_codes
from dro_jax.training import hosts

Item = dict[str, Any]
# How long the first process, at which JAX's coordination service lives, waits for the
# others to have heard before it ends and takes the service with it.
_GRACE_SECONDS = 15.0
_LAST_WORDS, _OVER = "last words", "over"


class News:
    """The news of a run, as one process tells and hears them.

    Args:
      log: the descriptor of a file where last words are written.
    """

    def __init__(self, log: int = 2):
        self._log = log
        self._client = hosts.client()
        self._heard = 0
        self._leaving = threading.Lock()
        self._lock = threading.Lock()
        self._unheard: dict[str, list[Item]] = collections.defaultdict(list)
        self._listeners: dict[str, Callable[[Item], None]] = {}
        self.on(_LAST_WORDS, self._end_as_told)
        self._thread = threading.Thread(
            target=self._hear, name="news of hosts", daemon=True
        )
        self._thread.start()

    def tell(self, kind: str, **item: Any) -> None:
        """Tells all processes, this one too."""
        item |= {"kind": kind, "process": hosts.index()}
        for number in itertools.count(self._heard):
            try:
                self._client.key_value_set(_key(number), json.dumps(item))
                return
            except jax.errors.JaxRuntimeError as error:
                if "ALREADY_EXISTS" not in str(error):
                    raise

    def on(self, kind: str, listener: Callable[[Item], None]) -> None:
        """Calls a listener with each item of a kind, in the order of all news.

        Those that came before are passed on first.
        """
        with self._lock:
            self._listeners[kind] = listener
            for item in self._unheard.pop(kind, []):
                listener(item)

    def close(self, together: bool) -> None:
        """Stops listening, at the end of the process; all at once where all are here."""
        # A thread that waits in C++ while Python ends aborts the process.
        if not together or hosts.index() == 0:
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                self.tell(_OVER, together=together)
        self._thread.join(timeout=5)

    def leave(self, status: int, words: str) -> None:
        """Ends the process, and tells the others why, which then end too.

        Args:
          status: this process's; the others take it too, and where this one crashed,
            that of a process whose peer went away.
          words: what they say of it, with this one's name.
        """
        with self._leaving:
            # Where the service is gone the others know.
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                self.tell(_LAST_WORDS, status=status, words=words)
            self._end(status)

    def _hear(self) -> None:
        for number in itertools.count():
            try:
                text = self._client.blocking_key_value_get(
                    _key(number), hosts.PATIENCE_MILLISECONDS
                )
            except jax.errors.JaxRuntimeError:
                return  # the run is over
            self._heard = number + 1
            item = json.loads(text)
            if item["kind"] == _OVER:
                if item["together"] or item["process"] == hosts.index():
                    return
                continue
            with self._lock:
                listener = self._listeners.get(item["kind"])
                if listener is None:
                    self._unheard[item["kind"]].append(item)
                else:
                    listener(item)

    def _end_as_told(self, item: Item) -> None:
        # One that is leaving for a reason of its own says that, and is not disturbed.
        if item["process"] == hosts.index() or not self._leaving.acquire(False):
            return
        status, crashed = item["status"], item["status"] == exit_codes.CRASHED.number
        if crashed:
            status = exit_codes.ABORTED.number
        # The main thread may be inside print.
        os.write(
            self._log, f"\n{hosts.name(item['process'])}: {item['words']}\n".encode()
        )
        if crashed:
            faulthandler.dump_traceback(file=self._log, all_threads=True)
        self._end(status)

    def _end(self, status: int) -> None:
        # Whatever becomes of the service meanwhile: who waits for `_leaving` never goes on.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._client.key_value_set(f"dro_jax/left/{hosts.index()}", "", True)
            if hosts.index() == 0:
                self._wait_for_others()
        self._exit(status)

    def _wait_for_others(self) -> None:
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            left = self._client.key_value_dir_get("dro_jax/left/")
            if len(left) == hosts.count():
                return
            time.sleep(0.05)

    def _exit(self, status: int) -> None:
        for call in _before_a_sudden_end:
            with contextlib.suppress(Exception):
                call()
        # JAX's own end waits minutes for processes that are gone.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


_news: list[News] = []
_before_a_sudden_end: list[Callable[[], None]] = []


@contextlib.contextmanager
def before_a_sudden_end(call: Callable[[], None]) -> Iterator[None]:
    """Calls this too where another process's last words end the block, and this process.

    Args:
      call: quick, and from any thread; nothing else of the block's is undone then.
    """
    _before_a_sudden_end.append(call)
    try:
        yield
    finally:
        _before_a_sudden_end.remove(call)


def news(log: int = 2) -> News:
    """The process's news; begins to listen when first asked for.

    Args:
      log: as for :class:`News`.
    """
    if not _news:
        _news.append(News(log))
        # Before JAX's own end, which was registered earlier.
        atexit.register(close)
    return _news[0]


def close(together: bool = False) -> None:
    """Stops listening, where anybody does.

    Args:
      together: whether all processes do so now, having met.
    """
    while _news:
        _news.pop().close(together)


def _key(number: int) -> str:
    return f"dro_jax/news/{number}"
