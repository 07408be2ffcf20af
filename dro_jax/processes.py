"""Whether a process of this computer still runs, told from a later one of its number."""

import os
import pathlib

_PROC = pathlib.Path("/proc")


def process_world() -> str:
    """What process numbers count in: this boot of this computer or container.

    Empty where the system does not say (not Linux).
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def process_start(number: int) -> str:
    """When a process began, in ticks since the boot; empty where that is not known."""
    fields = _status(number)
    return fields[19] if fields else ""


def has_ended(number: int, start: str) -> bool:
    """Whether the process of that number which began then runs no more.

    Args:
      number: of a process of this computer.
      start: what :func:`process_start` gave for it.
    """
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's: it runs
    fields = _status(number)
    if fields is None:
        return False
    # Z: it has ended, and its parent has not asked for its status yet.
    return fields[0] == "Z" or bool(start) and fields[19] != start


def _status(number: int) -> list[str] | None:
    """The fields of /proc/N/stat from the third on; the second may hold spaces."""
    try:
        text = (_PROC / str(number) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
