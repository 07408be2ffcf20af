"""What a command tells a person while it works: lines on standard error.

Standard output is left to what a command prints as its result. Of several processes that
are one command the first speaks for all; the others only warn of what befalls themselves,
with their number.
"""

import contextlib
import io
import sys
from collections.abc import Iterator

_index, _count = 0, 1


def set_process(index: int, count: int) -> None:
    """Says which of the command's processes this is; called by what starts them.

    Args:
      index: its number, from 0.
      count: how many there are.
    """
    # A state of the module: what speaks lies at every level, and this page imports
    # nothing that knows of processes.
    global _index, _count
    _index, _count = index, count


def is_first() -> bool:
    """Whether this process speaks, and writes files, for all of the command's."""
    return _index == 0


def say(text: str) -> None:
    """Print a line at once, if this is the first process; above the bar, if one is shown."""
    if is_first():
        print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """The same for what a person should know, though nothing has failed."""
    say(f"note: {text}")


def warn(text: str) -> None:
    """Print what befell this very process, whichever it is."""
    print(f"{own_name()}{text}", file=sys.stderr, flush=True)


def own_name() -> str:
    """What tells this process's lines from its peers', its number; alone, nothing."""
    return f"process {_index}: " if _count > 1 else ""


@contextlib.contextmanager
def results_once() -> Iterator[None]:
    """What the block prints on standard output appears once: other processes' is dropped."""
    if is_first():
        yield
        return
    with contextlib.redirect_stdout(_Nowhere()):
        yield


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)
