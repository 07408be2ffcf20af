"""Work done ahead in a thread that ends with whoever reads its results."""

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def prefetched(parts: Iterator[Sequence[T]], ahead: int) -> Iterator[T]:
    """The items of all parts; so many parts and one are made before they are asked for.

    The thread begins with the first item that is asked for. It ends when the parts
    do, when making one raises, which is raised here, or when this iterator is closed
    or forgotten.

    Args:
      parts: made in the thread, some items each, so that handing them over is cheap.
      ahead: how many parts wait.
    """
    ready: queue.Queue = queue.Queue(maxsize=ahead)
    closed = threading.Event()

    def work() -> None:
        failure = None
        try:
            for part in parts:
                ready.put((part, None))
                if closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001, raised again where it is read
            failure = error
        ready.put((None, failure))

    # A daemon, so that a program may end while it is reading.
    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            part, failure = ready.get()
            if failure is not None:
                raise failure
            if part is None:
                return
            yield from part
    finally:
        closed.set()
        # Room for what the thread holds: once it has put that, it sees that all is over.
        # Garbage is collected in any thread, which may be this very one.
        while thread.is_alive() and thread is not threading.current_thread():
            with contextlib.suppress(queue.Empty):
                ready.get(timeout=0.01)
