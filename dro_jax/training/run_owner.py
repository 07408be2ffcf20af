"""One owner a folder: who trains in a `MODEL_DIR`, for as long as it does.

The owner keeps `owner.json` there, which says who it is, and touches it every few
seconds. Another process is refused. An owner that is gone is no owner: one on this
computer whose process has ended, or one elsewhere that has not touched the file for
minutes. Ages are differences of two times that the file system itself gave, so that
clocks of several hosts do not matter.
"""

import contextlib
import contextvars
import dataclasses
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from dro_jax import exit_codes
from dro_jax.errors import ConfigError
from dro_jax.messages import say
from dro_jax.paths import make_folder, reason
from dro_jax.processes import has_ended
from dro_jax.training import distributed, host_news, hosts
from dro_jax.training.atomic_files import place_new, write_json
from dro_jax.training.owner_file import Owner, age_of, is_gone, read_owner, touched
from dro_jax.training.run_files import OWNER

TOUCH_SECONDS = 15.0
SILENT_SECONDS = 300.0
# Network file systems show a new file to other hosts after a minute at the latest.
SHARED_SECONDS = 75.0
# Folders that this thread of work owns: `dro-jax train` takes one before it looks into
# it, and `train`, which it calls, need not take it again.
_OWNED: contextvars.ContextVar[frozenset[pathlib.Path]] = contextvars.ContextVar(
    "owned", default=frozenset()
)


class InUse(ConfigError):
    """Another process owns a folder."""


@contextlib.contextmanager
def owned(
    folder: str | pathlib.Path,
    *,
    touch_seconds: float = TOUCH_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
    shared_seconds: float = SHARED_SECONDS,
    on_loss: Callable[[str], None] | None = None,
    what: str = "MODEL_DIR",
) -> Iterator[None]:
    """This process owns a folder while the block runs.

    Of the processes of one run over several hosts the first owns it for all, and the
    others must see that it does.

    Args:
      folder: a `MODEL_DIR`; made if need be.
      touch_seconds: how often the owner shows that it lives.
      silent_seconds: after how long without that an owner on another host is gone.
      shared_seconds: how long other processes may take to see the owner's file.
      on_loss: called with a message where another process has taken the folder, which
        happens only to one that was silent for so long; default, the process ends with 1
        at once, since both would write the same files.
      what: what messages call the folder.

    Raises:
      InUse: another process owns it; the message says which.
      ConfigError: not all processes of the run share it.
    """
    path = pathlib.Path(folder).resolve() / OWNER
    if path.parent in _OWNED.get():
        yield
        return
    # A file and not a lock of the system's, which network file systems do not keep or do
    # not show to other hosts. A file stays behind a kill, so its owner must show that
    # it lives: near by its process, from afar by touching the file.
    me = Owner.this()

    def take() -> str:
        make_folder(folder, what)
        _take(path, me, silent_seconds, what)
        return me.token

    token = hosts.first_says(take)
    with contextlib.ExitStack() as stack:
        if hosts.index() == 0:
            stack.enter_context(_kept(path, me, touch_seconds, on_loss, what))
        _check_shared(path, token, shared_seconds, what)
        before = _OWNED.set(_OWNED.get() | {path.parent})
        stack.callback(_OWNED.reset, before)
        yield


@contextlib.contextmanager
def _kept(path, me, touch_seconds, on_loss, what) -> Iterator[None]:
    """Shows that the owner lives, and removes its file at the end."""
    done = threading.Event()
    toucher = threading.Thread(
        target=_keep_touching,
        args=(path, me, touch_seconds, done, on_loss or _end_process, what),
        name=f"owner of {what}",
        daemon=True,
    )
    toucher.start()

    def release() -> None:
        # Another's, where this process was silent for so long that it was taken for dead.
        if read_owner(path) == me:
            path.unlink(missing_ok=True)

    # Another's last words may end this process while it is leaving, too.
    with host_news.before_a_sudden_end(release):
        try:
            yield
        finally:
            done.set()
            toucher.join()
            release()


def _check_shared(path: pathlib.Path, token: str, patience: float, what: str) -> None:
    """Refuses a folder that some processes of the run do not see, for all of them."""
    deadline = time.monotonic() + patience
    while not (sees := _shows(path, token)) and time.monotonic() < deadline:
        time.sleep(0.2)
    blind = [n for n, its in enumerate(hosts.exchange(sees)) if not its]
    if blind:
        raise ConfigError(
            f"{what} {path.parent} is not one folder for all processes of this run: "
            f"{', '.join(map(hosts.name, blind))} did not see within {patience:g} s "
            f"what {hosts.name(0)} wrote there. Give a folder that all hosts share, and "
            "the same one to all"
        )


def _shows(path: pathlib.Path, token: str) -> bool:
    owner = read_owner(path)
    return owner is not None and owner.token == token


def _take(path: pathlib.Path, me: Owner, silent_seconds: float, what: str) -> None:
    """Makes `me` the owner, once no other is."""
    # Written whole first and then linked, which fails where the name is taken: of two
    # processes that come at once one owns the folder, and nobody reads half a file.
    partial = path.with_name(f"{path.name}.{me.token}.partial")
    try:
        write_json(partial, dataclasses.asdict(me))
    except OSError as error:
        raise ConfigError(
            f"{what} {path.parent} cannot be written to ({reason(error)}): give a "
            "folder that you may write to"
        ) from error
    try:
        while read_owner(path) != me:
            try:
                place_new(partial, path)
            except FileExistsError:
                # NFS may say so of a link that it made, its first answer being lost.
                if read_owner(path) != me:
                    _pass_over(path, silent_seconds, what)
    except OSError as error:
        raise ConfigError(
            f"{what} {path.parent} cannot be claimed ({reason(error)}): give a folder "
            "that you may write to"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _pass_over(path: pathlib.Path, silent_seconds: float, what: str) -> None:
    """Removes an owner that is gone.

    Raises:
      ConfigError: it is not.
    """
    other = read_owner(path)
    if other is None:
        # Its owner left just now; or it holds something else, which says nothing.
        if (age := age_of(path)) is None or age < silent_seconds:
            time.sleep(0.1)
            return
    elif other.is_near:
        if not has_ended(other.process, other.process_start):
            raise _refusal(path, other, what)
        say(f"{what} {path.parent}: its last run, {other}, has ended without a word")
    elif (alive := _shows_life(path, other, silent_seconds, what)) is None:
        return
    elif alive:
        raise _refusal(path, other, what)
    else:
        say(
            f"{what} {path.parent}: its last run, {other}, has been silent for "
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
        if (age := age_of(turn)) is not None and age > 60:
            turn.unlink(missing_ok=True)
        time.sleep(0.05)
        return
    try:
        if read_owner(path) == dead:
            path.unlink(missing_ok=True)
    finally:
        turn.unlink(missing_ok=True)


def _shows_life(
    path: pathlib.Path, other: Owner, silent_seconds: float, what: str
) -> bool | None:
    """Waits until an owner touches its file, has been silent for too long, or left."""
    first, told = touched(path), False
    # Where it is another's by now, nobody is dead: the caller looks anew.
    while read_owner(path) == other and (age := age_of(path)) is not None:
        if touched(path) != first:
            return True
        if age >= silent_seconds:
            return False
        if not told:
            told = True
            say(
                f"{what} {path.parent} belongs to {other}, last heard of {age:.0f} s "
                "ago: waiting for a sign of life, or for silence of "
                f"{silent_seconds:.0f} s in all"
            )
        time.sleep(min(1.0, silent_seconds / 10))
    return None


def _refusal(path: pathlib.Path, other: Owner, what: str) -> InUse:
    age = age_of(path)
    heard = "" if age is None else f", last heard of {age:.0f} s ago"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(other.since))
    return InUse(
        f"{what} {path.parent} is in use: {other} has been working there since "
        f"{since}{heard}. Two in one folder would write over each other: take "
        f"another {what}, or stop that process. If it is gone for good, delete {path}"
    )


def _keep_touching(path, me, seconds, done, on_loss, what) -> None:
    while not done.wait(seconds):
        # A file system that does not answer just now says nothing about the owner.
        with contextlib.suppress(OSError):
            if (owner := read_owner(path)) == me:
                os.utime(path)
            elif owner is not None or is_gone(path):
                by = f"taken over by {owner}" if owner else f"left without {path.name}"
                on_loss(
                    f"{what} {path.parent} was {by} while {me} was at work "
                    "there: this one ends, and leaves the folder alone"
                )
                return


def _end_process(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    distributed.leave(exit_codes.CRASHED.number, message)
    os._exit(exit_codes.CRASHED.number)
