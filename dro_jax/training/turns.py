"""One process after another at work in a folder, as runs that share a reference are."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator

from dro_jax.messages import say
from dro_jax.training import hosts
from dro_jax.training.preemption import StopSignal
from dro_jax.training.run_owner import InUse, owned
from dro_jax.training.watchdog import Watchdog


@contextlib.contextmanager
def in_turn(
    folder: str | pathlib.Path,
    what: str,
    *,
    poll_seconds: float = 1.0,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Owns a folder once nobody else does, as :func:`owned` otherwise.

    Args:
      folder: made if need be.
      what: what messages call it.
      poll_seconds: how often it is looked whether the other has left.
      tick: called as often meanwhile; may raise to stop waiting.
    """
    told = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(owned(folder, what=what))
                break
            except InUse as error:
                if not told:
                    say(f"waiting for another process: {str(error).split(',')[0]}")
                told = True
                tick()
                time.sleep(poll_seconds)
        yield


def one_computes(
    folder: pathlib.Path, what: str, stop: StopSignal, watchdog: Watchdog
) -> contextlib.AbstractContextManager:
    """Of runs that compute the same into a folder at once, one does, and others wait.

    Args:
      folder: which the others look into once more, when it is their turn.
      what: what messages call it.
      stop: asks to stop waiting.
      watchdog: is told that waiting is no hanging.
    """
    # Hosts of one run may have a folder each, and then there is nothing to wait for.
    if hosts.count() > 1:
        return contextlib.nullcontext()

    def tick() -> None:
        watchdog.reset()
        if stop.now():
            raise stop.stopped(f"while waiting for {what}, which another run computes")

    return in_turn(folder, what, tick=tick)
