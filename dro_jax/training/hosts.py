"""What the processes of a run tell one another, and what one decides for all.

All of it passes through JAX's coordination service and not through collectives, whose
patience of half a minute a long piece of work would outlast. Every function but
:func:`name` must be called by all processes, in the same order. With one process none of
them costs anything.
"""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax._src import distributed

from dro_jax import errors
from dro_jax.errors import PeerError, UserError
from dro_jax.messages import warn

# The watchdog ends a run that stands still; this is for one that has none.
PATIENCE_MILLISECONDS = 24 * 3600 * 1000
_turns = itertools.count()
_KEPT = 32  # turns whose words lie at the coordination service before they are deleted
# How often those who wait say for whom.
TOLD_SECONDS = 300.0
_MOST_NAMED = 8
_names: list[str] = []


def client() -> Any:
    """The process's line to JAX's coordination service; None where there is none."""
    # JAX has no public name for it; this is the only place that uses the private one.
    return distributed.global_state.client


def count() -> int:
    """How many processes the run has."""
    # JAX's own count starts the devices, which waits for all processes.
    if client() is not None:
        return distributed.global_state.num_processes
    if jax.process_count() > 1:
        raise errors.ConfigError(
            "these processes share devices and not JAX's coordination service: call "
            "jax.distributed.initialize() in each before anything else"
        )
    return 1


def index() -> int:
    """This process's number, from 0."""
    return distributed.global_state.process_id


def set_names(names: list[str]) -> None:
    """Keeps the host of each process, for messages."""
    _names[:] = names


def name(process: int) -> str:
    """`process 1 on HOST`, for messages."""
    if process == index():
        host = socket.gethostname()
    else:
        host = _names[process] if process < len(_names) else None
    return f"process {process}" + (f" on {host}" if host else "")


def first_says(work: Callable[[], Any]) -> Any:
    """What the work of the first process gives, on every process.

    Files are looked at once, so that processes that see a folder at different moments
    still run the same collectives.

    Args:
      work: gives values that JSON holds; done on the first process alone.

    Raises:
      UserError: the work did, and so do all processes.
      PeerError: on the others, where the work failed in another way.
    """
    if count() == 1:
        return work()
    error = None
    with _turn() as key:
        if index() == 0:
            value, said, error = _done(work)
            said |= {"value": value}
            client().key_value_set(key, json.dumps(said))
        else:
            said = json.loads(_get_of_first(key))
    if error is not None:
        raise error
    _raise_told(said, 0, named=False)
    return said["value"]


def from_first(items: Iterator[Any]) -> Iterator[Any]:
    """What an iterator of the first process gives, on every process, one by one.

    For what only one process can read, as standard input. All processes must take the
    items in step with one another.

    Args:
      items: values that JSON holds; the other processes' own are not looked at.

    Raises:
      UserError: the iterator did, and so do all processes.
    """
    while item := first_says(lambda: list(itertools.islice(items, 1))):
        yield item[0]


def agree(work: Callable[[], Any]) -> Any:
    """What a process's own work gives, once the work of all has gone well.

    Where the work of one is refused, all are: none is left to wait for that one in a
    collective.

    Args:
      work: done on every process.

    Raises:
      UserError: one's work did: its own, or that of the first process that was refused,
        with its name.
      PeerError: another's work failed in another way.
    """
    if count() == 1:
        return work()
    value, said, error = _done(work)
    told = exchange(said)
    if error is not None:
        raise error
    for process, its in enumerate(told):
        _raise_told(its, process, named=True)
    return value


def exchange(value: Any) -> list[Any]:
    """What each process gives, by process, on every process.

    Args:
      value: what JSON holds.
    """
    if count() == 1:
        return [value]
    with _turn() as key:
        return exchange_at(key, value)


def exchange_at(key: str, value: Any) -> list[Any]:
    """The same under a key of the caller's, apart from the order of other calls."""
    client().key_value_set(f"{key}/{index()}", json.dumps(value))
    began = told = time.monotonic()
    pause = 0.002
    # All at once, and again: a wait for each of many would be as many calls squared.
    while len(given := client().key_value_dir_get(f"{key}/")) < count():
        time.sleep(pause)
        pause = min(1.5 * pause, 0.5)
        if time.monotonic() - told > TOLD_SECONDS:
            told = time.monotonic()
            here = {int(its.rpartition("/")[2]) for its, _ in given}
            _tell_of_waiting([n for n in range(count()) if n not in here], began, key)
    by_process = {int(its.rpartition("/")[2]): text for its, text in given}
    return [json.loads(by_process[process]) for process in range(count())]


def meet(name: str) -> None:
    """Waits until all processes are here; before collectives that follow uneven work.

    Args:
      name: of the place, for those who wait there long.
    """
    if count() > 1:
        with _turn() as key:
            exchange_at(f"{key}/{name}", None)


@contextlib.contextmanager
def _turn() -> Iterator[str]:
    """The key of what all processes do next."""
    number = next(_turns)
    folder = f"dro_jax/turns/{number // _KEPT}"
    yield f"{folder}/{number % _KEPT}"
    if number % _KEPT == _KEPT - 1:
        # A long run's words would fill the first process's memory.
        client().wait_at_barrier(f"{folder}/read", PATIENCE_MILLISECONDS)
        if index() == 0:
            client().key_value_delete(f"{folder}/")


def _get_of_first(key: str) -> str:
    began = time.monotonic()
    while True:
        try:
            return client().blocking_key_value_get(key, int(1000 * TOLD_SECONDS))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            _tell_of_waiting([0], began, key)


def _tell_of_waiting(processes: list[int], began: float, key: str) -> None:
    names = ", ".join(name(process) for process in processes[:_MOST_NAMED])
    more = ", …" if len(processes) > _MOST_NAMED else ""
    seconds = time.monotonic() - began
    warn(f"waiting for {names}{more} since {seconds:.0f} s ({key})")


def _done(work: Callable[[], Any]) -> tuple[Any, dict[str, str], Exception | None]:
    """What work gives, what the others are told of it, and what it raised."""
    try:
        return work(), {}, None
    except UserError as error:
        return None, {"error": str(error), "kind": type(error).__name__}, error
    except Exception as error:  # noqa: BLE001  the others must not wait for ever
        return None, {"error": f"{type(error).__name__}: {error}", "kind": ""}, error


def _raise_told(said: dict[str, Any], process: int, *, named: bool) -> None:
    """Raises what another process's work did, if it did."""
    if "error" not in said:
        return
    prefix = f"{name(process)}: " if named else ""
    kind = getattr(errors, said["kind"], None) if said["kind"] else None
    if kind is None:
        raise PeerError(f"{name(process)} failed: {said['error']}")
    raise kind(f"{prefix}{said['error']}")
