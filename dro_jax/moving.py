"""What long work says while it goes on, to whoever would end a run that stands still."""

import contextlib
import threading
from collections.abc import Callable, Iterator

_heard: list[Callable[[], None]] = []
# Held while they are told, so that who has left the block is told nothing any more.
_telling = threading.RLock()


def goes_on() -> None:
    """Called by work that takes long, again and again, by whatever thread does it."""
    with _telling:
        for hear in tuple(_heard):
            hear()


@contextlib.contextmanager
def heard_by(hear: Callable[[], None]) -> Iterator[None]:
    """Calls `hear` at each :func:`goes_on` in the block."""
    with _telling:
        _heard.append(hear)
    try:
        yield
    finally:
        with _telling:
            _heard.remove(hear)
