"""The file by which a process says that it trains in a folder, and for how long."""

import dataclasses
import json
import os
import pathlib
import socket
import time
import uuid

from dro_jax.processes import process_start, process_world


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process that trains in a folder.

    Attributes:
      token: no other owner's.
      host: its name for people.
      world: what its process number counts in: a boot of a computer, or a container.
      process: its number.
      process_start: tells it from a later process of the same number.
      since: when it came, seconds since 1970 by its own clock.
    """

    token: str
    host: str
    world: str
    process: int
    process_start: str
    since: float

    @classmethod
    def this(cls) -> "Owner":
        """This process, as a new owner."""
        return cls(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            world=process_world(),
            process=os.getpid(),
            process_start=process_start(os.getpid()),
            since=time.time(),
        )

    @property
    def is_near(self) -> bool:
        """Whether its process can be looked up from here."""
        return self.host == socket.gethostname() and self.world == process_world()

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def read_owner(path: pathlib.Path) -> Owner | None:
    """Who owns by that file; None where there is none that can be read."""
    try:
        return Owner(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def touched(path: pathlib.Path) -> int | None:
    """When a file was touched last, in nanoseconds by its file system's clock."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def age_of(path: pathlib.Path) -> float | None:
    """Seconds since a file was touched, by the file system's own clock."""
    # Hosts' own clocks may differ by more than an owner may be silent for.
    last = touched(path)
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    probe.touch()
    now = probe.stat().st_mtime_ns
    probe.unlink()
    return None if last is None else (now - last) / 1e9


def is_gone(path: pathlib.Path) -> bool:
    """Whether the file system says that there is no such file."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    return False
