"""Several processes become one run: `jax.distributed`, started and ended in good order."""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time

from dro_jax import exit_codes
from dro_jax.errors import PeerError
from dro_jax.messages import set_process, warn
from dro_jax.training.host_places import Place
from dro_jax.training.roll_call import bind_address, call_roll

START_SECONDS = 300.0
# A process that is gone without a word (SIGKILL, a dead host) is noticed after so long.
HEARTBEAT_SECONDS = 30
# How long one that failed may take to say so, after the others have heard of it.
_WORDS_SECONDS = 10.0
# How long a broken collective waits for an explanation.
_PEER_SECONDS = HEARTBEAT_SECONDS + 10
_WORDS_OF_PEERS = (
    "Gloo",
    "gloo",
    "Connection closed by peer",
    "Connection reset by peer",
    "UNAVAILABLE",
    "coordination service",
    "NCCL",
)
_MOST_NAMED = 64
# Whether it was started here, once it is.
_joined: list[bool] = []
# What handled SIGTERM before the command did, which its end puts back.
_handled_before: list = []


def is_joined() -> bool:
    """Whether this process is one of several, by :func:`join` or :func:`adopt`."""
    return bool(_joined)


def join(place: Place, timeout: float = START_SECONDS) -> None:
    """Makes this process one of several; before anything touches JAX's devices.

    Args:
      place: which of how many.
      timeout: seconds to wait until all are there.

    Raises:
      ConfigError: some did not come; the message names them.
    """
    if _is_started():
        adopt()
        return
    set_process(place.process_id, place.num_processes)
    names = call_roll(place, timeout)
    import jax

    # Where another process goes away JAX aborts this one: with all threads' stacks.
    # And into the log even while the start-up notes of libraries are kept from it.
    log = os.dup(2)
    faulthandler.enable(log)
    # It would take SIGTERM for itself, and be heard by the train loop alone.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        place.coordinator,
        place.num_processes,
        place.process_id,
        local_device_ids=place.local_device_ids,
        cluster_detection_method="deactivate",
        coordinator_bind_address=bind_address(place.coordinator),
        initialization_timeout=max(60, int(timeout)),
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
    _listen(names, log, ours=True)
    # JAX names a process that goes away by its number alone.
    others = ", ".join(f"{n} on {host}" for n, host in enumerate(names[:_MOST_NAMED]))
    more = ", …" if len(names) > _MOST_NAMED else ""
    warn(f"one of {place.num_processes}: {others}{more}")


def adopt() -> None:
    """Takes part in what the caller started with `jax.distributed.initialize`, if so."""
    if not _is_started():
        return
    from dro_jax.training import hosts

    if _joined:
        _take_sigterm()  # another command of the caller's processes
    elif hosts.count() > 1:
        set_process(hosts.index(), hosts.count())
        _listen(hosts.exchange(socket.gethostname()), 2, ours=False)


def _is_started() -> bool:
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def _listen(names: list[str], log: int, *, ours: bool) -> None:
    from dro_jax.training import hosts
    from dro_jax.training.host_news import news

    hosts.set_names(names)
    news(log)
    _joined.append(ours)
    _take_sigterm()


def finish() -> None:
    """Waits for the others at the end of a command that went well."""
    if not _joined:
        return
    import jax

    from dro_jax.training import host_news, hosts

    # What is done or saved is not stopped by a signal that comes while others are awaited.
    _handle_sigterm(signal.SIG_IGN)
    hosts.meet("end")
    if _joined[0]:  # else whoever started JAX may go on, and ends it
        host_news.close(together=True)
        _joined.clear()
        jax.distributed.shutdown()
    while _handled_before:
        _handle_sigterm(_handled_before.pop() or signal.SIG_DFL)


def leave(status: int, words: str) -> int:
    """Ends a process that stops before its end, and those of its run with it.

    Args:
      status: this process's.
      words: why, in a sentence, for the others' logs.

    Returns:
      The status, where this is a process of its own.
    """
    if _joined:
        from dro_jax.training.host_news import news

        # What a launcher sends to the rest of a job does not change how this one ends.
        _handle_sigterm(signal.SIG_IGN)
        news().leave(status, words)
    return status


def fail(error: Exception) -> int:
    """Ends a process of several that failed, by a fault of its own or of another's.

    Another that goes away breaks this one's collectives, with an error that says nothing
    of it; what the other says of itself, or JAX finds missing, comes a little later.
    """
    import jax

    if isinstance(error, PeerError):
        # It says so itself in a moment, with its own status.
        time.sleep(_WORDS_SECONDS)
        return leave(exit_codes.ABORTED.number, str(error))
    if isinstance(error, jax.errors.JaxRuntimeError) and _is_of_peers(str(error)):
        time.sleep(_PEER_SECONDS)
        words = "lost its connection to another process, which says nothing"
        return leave(exit_codes.ABORTED.number, words)
    return leave(exit_codes.CRASHED.number, f"crashed: {type(error).__name__}: {error}")


def _is_of_peers(message: str) -> bool:
    return any(word in message for word in _WORDS_OF_PEERS)


def _take_sigterm() -> None:
    if threading.current_thread() is threading.main_thread() and not _handled_before:
        _handled_before.append(signal.signal(signal.SIGTERM, _on_sigterm))


def _handle_sigterm(handler) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _on_sigterm(*_) -> None:
    # While a run listens for it, it is a request: see `preemption`.
    from dro_jax.training.preemption import Preempted

    raise Preempted("stopped by SIGTERM before there was anything to save")
