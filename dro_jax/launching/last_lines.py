"""The end of a process's log, for people whose process failed."""

import os
import pathlib

_LINES = 5
_LONGEST_LINE = 300
_MOST_READ = 1 << 16  # bytes


def last_lines(path: pathlib.Path, begun: int = 0) -> list[str]:
    """The last lines that a process wrote.

    Args:
      path: its log's.
      begun: where in it this process began to write.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begun, size - _MOST_READ))
        text = file.read().decode("utf-8", "replace")
    lines = text.rstrip().splitlines()[-_LINES:]
    return [
        line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …"
        for line in lines or ["(it wrote nothing)"]
    ]
