"""All processes of a run come together before JAX starts, or those missing are named.

JAX's own start aborts the process where one does not come, without a word which. So the
processes meet first at the very address where JAX's coordinator will listen: each tells
the first one who it is, and the first one answers with everybody's host, or with what is
wrong.
"""

import contextlib
import json
import selectors
import socket
import time
from typing import Any, NamedTuple

from dro_jax.errors import ConfigError
from dro_jax.messages import say
from dro_jax.training.host_places import Place

_MOST_BYTES = 1 << 20
_MOST_NAMED = 20


class Caller(NamedTuple):
    """A process, as it tells the first one.

    Attributes:
      process: its number.
      of: of how many it takes itself to be one.
      host: the name of its computer.
    """

    process: int
    of: int
    host: str


def call_roll(place: Place, timeout: float) -> list[str]:
    """Waits until all processes are there.

    Args:
      place: this one's.
      timeout: for so many seconds.

    Returns:
      The host of each process.

    Raises:
      ConfigError: some did not come (the message names them), two are one number, or they
        take themselves for different numbers of processes.
    """
    me = Caller(place.process_id, place.num_processes, socket.gethostname())
    host, _, port = place.coordinator.rpartition(":")
    host = host.strip("[]")
    deadline = time.monotonic() + timeout
    if place.process_id:
        answer = _ask(me, host, int(port), deadline, timeout)
    else:
        answer = _Roll(me, timeout).take(bind_address(place.coordinator), deadline)
    if "refusal" in answer:
        raise ConfigError(answer["refusal"])
    return answer["hosts"]


def bind_address(coordinator: str) -> str:
    """Where the first process listens: `HOST:PORT`, on this computer alone if so named."""
    host, _, port = coordinator.rpartition(":")
    if host == "localhost" or host.startswith("127."):
        return f"{host}:{port}"
    return f"[::]:{port}" if socket.has_dualstack_ipv6() else f"0.0.0.0:{port}"


class _Roll:
    """Who has come, as the first process knows."""

    def __init__(self, me: Caller, timeout: float):
        self._me, self._timeout = me, timeout
        self._hosts = {me.process: me.host}
        self._connections: dict[socket.socket, tuple[bytes, Caller | None]] = {}
        self._left: dict[int, str] = {}
        self._told = time.monotonic() + 20

    def take(self, address: str, deadline: float) -> dict[str, Any]:
        """Waits for the others, and answers them."""
        with _listen(address) as listener, selectors.DefaultSelector() as ready:
            listener.setblocking(False)
            ready.register(listener, selectors.EVENT_READ)
            answer = self._answer()
            while answer is None:
                for key, _ in ready.select(0.5):
                    if key.fileobj is listener:
                        self._accept(listener, ready)
                    else:
                        self._read(key.fileobj, ready)
                answer = self._answer(late=time.monotonic() > deadline)
                self._say_who_is_missing()
            self._send(answer)
        return answer

    def _accept(self, listener: socket.socket, ready: selectors.BaseSelector) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        ready.register(connection, selectors.EVENT_READ)
        self._connections[connection] = (b"", None)

    def _read(self, connection: socket.socket, ready: selectors.BaseSelector) -> None:
        text, caller = self._connections[connection]
        try:
            received = connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        text += received
        if caller is None and text.endswith(b"\n"):
            caller = _caller(text)
        if received and len(text) < _MOST_BYTES and (caller or b"\n" not in text):
            self._connections[connection] = (text, caller)
            return
        # It ended, and may come again; or it is no process of a run.
        ready.unregister(connection)
        del self._connections[connection]
        connection.close()
        if caller is not None:
            self._left[caller.process] = caller.host

    def _answer(self, late: bool = False) -> dict[str, Any] | None:
        """What all are told; None as long as some may still come."""
        me = self._me
        hosts = {me.process: me.host}
        callers = [caller for _, caller in self._connections.values() if caller]
        for caller in callers:
            if caller.of != me.of:
                return _refusal(
                    f"process {caller.process} on {caller.host} was started as one of "
                    f"{caller.of}, and process 0 on {me.host} as one of {me.of}: give "
                    "all the same --num_processes"
                )
            if caller.process in hosts:
                return _refusal(
                    f"two processes say that they are number {caller.process} of {me.of}: "
                    f"on {hosts[caller.process]} and on {caller.host}. Give each its own "
                    "--process_id"
                )
            hosts[caller.process] = caller.host
        self._hosts = hosts
        if len(hosts) == me.of:
            return {"hosts": [hosts[number] for number in range(me.of)]}
        return _refusal(self._missing()) if late else None

    def _missing(self) -> str:
        here, count = self._hosts, self._me.of
        missing = [number for number in range(count) if number not in here]
        named = ", ".join(str(number) for number in missing[:_MOST_NAMED])
        if len(missing) > _MOST_NAMED:
            named += f" and {len(missing) - _MOST_NAMED} more"
        there = ", ".join(
            f"{number} on {here[number]}" for number in sorted(here)[:_MOST_NAMED]
        )
        left = ", ".join(
            f"process {number} on {host}"
            for number, host in sorted(self._left.items())
            if number in missing
        )
        noun = "process" if len(missing) == 1 else "processes"
        return (
            f"{noun} {named} of {count} did not come within {self._timeout:g} s; here: "
            f"{there}. "
            + (f"{left} came and ended: see its own messages. " if left else "")
            + "Start the same command on every host, and look at the logs of those that "
            "are missing; --start_timeout gives them longer"
        )

    def _say_who_is_missing(self) -> None:
        if time.monotonic() > self._told and len(self._hosts) < self._me.of:
            self._told = time.monotonic() + 60
            count = self._me.of
            missing = [str(n) for n in range(count) if n not in self._hosts]
            say(
                f"{len(self._hosts)} of {count} processes are here; waiting for "
                + ", ".join(missing[:_MOST_NAMED])
                + (" …" if len(missing) > _MOST_NAMED else "")
            )

    def _send(self, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode() + b"\n"
        for connection in self._connections:
            connection.settimeout(5)
            # Whoever has gone meanwhile is missed by JAX.
            with contextlib.suppress(OSError):
                connection.sendall(text)
        for connection in self._connections:
            # Whoever closes first leaves the port busy for a while.
            with contextlib.suppress(OSError):
                connection.recv(1)
            connection.close()


def _refusal(message: str) -> dict[str, str]:
    return {"refusal": message}


def _caller(text: bytes) -> Caller | None:
    try:
        caller = Caller(**json.loads(text))
        fits = 0 <= caller.process and isinstance(caller.host, str)
        return caller if fits and isinstance(caller.of, int) else None
    except (ValueError, TypeError):
        return None


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        if host == "[::]":
            return socket.create_server(
                ("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True
            )
        return socket.create_server((host, int(port)))
    except OSError as error:
        raise ConfigError(
            f"process 0 cannot listen at port {port} ({error.strerror}): another run may "
            "use it, or the coordinator is not this computer. Give --coordinator=HOST:PORT "
            "of process 0 with a free port"
        ) from error


def _ask(
    me: Caller, host: str, port: int, deadline: float, timeout: float
) -> dict[str, Any]:
    """Tells the first process who this is, and gives its answer."""
    problem = "it does not answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), min(left, 10)) as connection:
                connection.sendall(json.dumps(me._asdict()).encode() + b"\n")
                # The first one may have come later; it says who is missing.
                connection.settimeout(left + timeout)
                if (answer := _answer_in(connection)) is not None:
                    return answer
                problem = "it ended before all were there"
        except ValueError:
            problem = "what answers there is no process of a run"
        except OSError as error:
            problem = error.strerror or str(error)
        time.sleep(0.3)
    raise ConfigError(
        f"process 0 of {me.of} was not reached at {host}:{port} within {timeout:g} s "
        f"({problem}). Start the same command there too, and let its port {port} be open "
        "to the other hosts; --start_timeout gives it longer"
    )


def _answer_in(connection: socket.socket) -> dict[str, Any] | None:
    """The first process's answer; None where it ended without one.

    Raises:
      ValueError: what was said is no answer: another program listens there.
    """
    with connection.makefile("rb") as file:
        line = file.readline(_MOST_BYTES)
    if not line.endswith(b"\n"):
        return None
    answer = json.loads(line)
    if not isinstance(answer, dict) or not {"hosts", "refusal"} & answer.keys():
        raise ValueError("no answer of a first process")
    return answer
