"""One run a folder: who trains in a `MODEL_DIR`, for as long as it does.

The owner keeps `owner.json` there, which says who it is, and touches it every few
seconds. Another process is refused. An owner that is gone is no owner: one on this
computer whose process has ended, or one elsewhere that has not touched the file for
minutes. Ages are differences of two times that the file system itself gave, so that
clocks of several hosts do not matter.
"""

import contextlib
import contextvars
import dataclasses
import json
import os
import pathlib
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import jax

from dro_jax.errors import ConfigError
from dro_jax.messages import say
from dro_jax.paths import make_folder, reason
from dro_jax.processes import has_ended, process_start, process_world
from dro_jax.training.atomic_files import place_new, write_json
from dro_jax.training.run_files import OWNER

TOUCH_SECONDS = 15.0
SILENT_SECONDS = 300.0
# Folders that this thread of work owns: `dro-jax train` takes one before it looks into
# it, and `train`, which it calls, need not take it again.
_OWNED: contextvars.ContextVar[frozenset[pathlib.Path]] = contextvars.ContextVar(
    "owned", default=frozenset()
)


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


@contextlib.contextmanager
def owned(
    folder: str | pathlib.Path,
    *,
    touch_seconds: float = TOUCH_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
    on_loss: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """This process owns a folder while the block runs.

    Of the processes of one run over several hosts the first owns it for all.

    Args:
      folder: a `MODEL_DIR`; made if need be.
      touch_seconds: how often the owner shows that it lives.
      silent_seconds: after how long without that an owner on another host is gone.
      on_loss: called with a message where another process has taken the folder, which
        happens only to one that was silent for so long; default, the process ends with 1
        at once, since both would write the same files.

    Raises:
      ConfigError: another process owns it; the message says which.
    """
    folder = make_folder(folder, "MODEL_DIR").resolve()
    if folder in _OWNED.get() or jax.process_index() != 0:
        yield
        return
    # A file and not a lock of the system's, which network file systems do not keep or do
    # not show to other hosts. A file stays behind a kill, so its owner must show that
    # it lives: near by its process, from afar by touching the file.
    path, me = folder / OWNER, Owner.this()
    _take(path, me, silent_seconds)
    done = threading.Event()
    toucher = threading.Thread(
        target=_keep_touching,
        args=(path, me, touch_seconds, done, on_loss or _end_process),
        name="owner of MODEL_DIR",
        daemon=True,
    )
    toucher.start()
    before = _OWNED.set(_OWNED.get() | {folder})
    try:
        yield
    finally:
        _OWNED.reset(before)
        done.set()
        toucher.join()
        # Another's, where this process was silent for so long that it was taken for dead.
        if _read(path) == me:
            path.unlink(missing_ok=True)


def _take(path: pathlib.Path, me: Owner, silent_seconds: float) -> None:
    """Makes `me` the owner, once no other is."""
    # Written whole first and then linked, which fails where the name is taken: of two
    # processes that come at once one owns the folder, and nobody reads half a file.
    partial = path.with_name(f"{path.name}.{me.token}.partial")
    try:
        write_json(partial, dataclasses.asdict(me))
    except OSError as error:
        raise ConfigError(
            f"MODEL_DIR {path.parent} cannot be written to ({reason(error)}): give a "
            "folder that you may write to"
        ) from error
    try:
        while _read(path) != me:
            try:
                place_new(partial, path)
            except FileExistsError:
                # NFS may say so of a link that it made, its first answer being lost.
                if _read(path) != me:
                    _pass_over(path, silent_seconds)
    except OSError as error:
        raise ConfigError(
            f"MODEL_DIR {path.parent} cannot be claimed ({reason(error)}): give a folder "
            "that you may write to"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _pass_over(path: pathlib.Path, silent_seconds: float) -> None:
    """Removes an owner that is gone.

    Raises:
      ConfigError: it is not.
    """
    other = _read(path)
    if other is None:
        # Its owner left just now; or it holds something else, which says nothing.
        if (age := _age(path)) is None or age < silent_seconds:
            time.sleep(0.1)
            return
    elif other.is_near:
        if not has_ended(other.process, other.process_start):
            raise _refusal(path, other)
        say(f"MODEL_DIR {path.parent}: its last run, {other}, has ended without a word")
    elif (alive := _shows_life(path, other, silent_seconds)) is None:
        return
    elif alive:
        raise _refusal(path, other)
    else:
        say(
            f"MODEL_DIR {path.parent}: its last run, {other}, has been silent for "
            f"{silent_seconds:.0f} s and is taken for dead"
        )
    _remove(path, other)


def _remove(path: pathlib.Path, dead: Owner | None) -> None:
    """Removes a dead owner's file, unless another newcomer has; one does so at a time."""
    turn = path.with_name(f"{path.name}.partial")
    try:
        os.close(os.open(turn, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        # It takes no time, so one that is old was left by a kill.
        if (age := _age(turn)) is not None and age > 60:
            turn.unlink(missing_ok=True)
        time.sleep(0.05)
        return
    try:
        if _read(path) == dead:
            path.unlink(missing_ok=True)
    finally:
        turn.unlink(missing_ok=True)


def _shows_life(path: pathlib.Path, other: Owner, silent_seconds: float) -> bool | None:
    """Waits until an owner touches its file, has been silent for too long, or left."""
    first, told = _touched(path), False
    # Where it is another's by now, nobody is dead: the caller looks anew.
    while _read(path) == other and (age := _age(path)) is not None:
        if _touched(path) != first:
            return True
        if age >= silent_seconds:
            return False
        if not told:
            told = True
            say(
                f"MODEL_DIR {path.parent} belongs to {other}, last heard of {age:.0f} s "
                "ago: waiting for a sign of life, or for silence of "
                f"{silent_seconds:.0f} s in all"
            )
        time.sleep(min(1.0, silent_seconds / 10))
    return None


def _refusal(path: pathlib.Path, other: Owner) -> ConfigError:
    age = _age(path)
    heard = "" if age is None else f", last heard of {age:.0f} s ago"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(other.since))
    return ConfigError(
        f"MODEL_DIR {path.parent} is in use: {other} has been training there since "
        f"{since}{heard}. Two runs in one folder would write over each other: take "
        f"another MODEL_DIR, or stop that process. If it is gone for good, delete {path}"
    )


def _keep_touching(path, me, seconds, done, on_loss) -> None:
    while not done.wait(seconds):
        # A file system that does not answer just now says nothing about the owner.
        with contextlib.suppress(OSError):
            if (owner := _read(path)) == me:
                os.utime(path)
            elif owner is not None or _is_gone(path):
                by = f"taken over by {owner}" if owner else f"left without {path.name}"
                on_loss(
                    f"MODEL_DIR {path.parent} was {by} while this run, {me}, trained "
                    "there: it ends, and leaves the folder alone"
                )
                return


def _is_gone(path: pathlib.Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    return False


def _end_process(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def _read(path: pathlib.Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _touched(path: pathlib.Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _age(path: pathlib.Path) -> float | None:
    """Seconds since a file was touched, by the file system's own clock."""
    # Hosts' own clocks may differ by more than an owner may be silent for.
    touched = _touched(path)
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    probe.touch()
    now = probe.stat().st_mtime_ns
    probe.unlink()
    return None if touched is None else (now - touched) / 1e9
