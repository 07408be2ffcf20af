"""What long work says while it goes on, to whoever would end a run that stands still."""

import contextlib
from collections.abc import Callable, Iterator

_heard: list[Callable[[], None]] = []


def goes_on() -> None:
    """Called by work that takes long, again and again, by whatever thread does it."""
    for hear in tuple(_heard):
        hear()


@contextlib.contextmanager
def heard_by(hear: Callable[[], None]) -> Iterator[None]:
    """Calls `hear` at each :func:`goes_on` in the block."""
    _heard.append(hear)
    try:
        yield
    finally:
        _heard.remove(hear)
