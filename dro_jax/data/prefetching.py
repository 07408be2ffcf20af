"""Work done ahead in a thread that ends with whoever reads its results."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def prefetched(items: Iterator[T], ahead: int) -> Iterator[T]:
    """The items, of which so many and one are computed before they are asked for.

    The thread begins with the first item that is asked for. It ends when the items
    do, when one of them raises, which is raised here, or when this iterator is closed
    or forgotten.

    Args:
      items: computed in the thread.
      ahead: how many wait.
    """
    ready: queue.Queue = queue.Queue(maxsize=ahead)
    closed = threading.Event()

    def work() -> None:
        failure = None
        try:
            for item in items:
                ready.put((item, None))
                if closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001, raised again where it is read
            failure = error
        ready.put((_END, failure))

    # A daemon, so that a program may end while it is reading.
    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, failure = ready.get()
            if failure is not None:
                raise failure
            if item is _END:
                return
            yield item
    finally:
        closed.set()
        # Room for what the thread holds: once it has put that, it sees that all is over.
        # Garbage is collected in any thread, which may be this very one.
        while thread.is_alive() and thread is not threading.current_thread():
            with contextlib.suppress(queue.Empty):
                ready.get(timeout=0.01)
