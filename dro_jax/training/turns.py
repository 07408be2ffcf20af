"""One process after another at work in a folder, as runs that share a reference are."""

import contextlib
import pathlib
import time
from collections.abc import Iterator

from dro_jax.messages import say
from dro_jax.training.run_owner import InUse, owned


@contextlib.contextmanager
def in_turn(
    folder: str | pathlib.Path, what: str, *, poll_seconds: float = 1.0
) -> Iterator[None]:
    """Owns a folder once nobody else does, as :func:`owned` otherwise.

    Args:
      folder: made if need be.
      what: what messages call it.
      poll_seconds: how often it is looked whether the other has left.
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
                time.sleep(poll_seconds)
        yield
