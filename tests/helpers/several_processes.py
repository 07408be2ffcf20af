"""Real processes that run one program together, each on simulated devices of its own.

They are forks of one server, which has imported everything once, and meet on loopback.
What they print goes to a log each. They end with whoever started them, killed or not.
"""

import atexit
import ctypes
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from multiprocessing import forkserver
from typing import Any, Self

from dro_jax.exit_codes import shell_status

_HELPERS = str(pathlib.Path(__file__).parent)
_IMPORTED = "imported_by_processes"
_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process stands among those of its run.

    Attributes:
      rank: its number.
      count: of the processes.
      devices: of each process.
      port: of the coordinator on loopback.
    """

    rank: int
    count: int
    devices: int
    port: int

    @property
    def flags(self) -> list[str]:
        """What tells a command of `dro-jax` its place; none for one process."""
        if self.count == 1:
            return []
        return [
            f"--coordinator=127.0.0.1:{self.port}",
            f"--num_processes={self.count}",
            f"--process_id={self.rank}",
        ]

    def join(self) -> None:
        """Meet the others without a command; one process has nobody to meet."""
        import jax

        if self.count > 1:
            jax.distributed.initialize(
                f"127.0.0.1:{self.port}",
                self.count,
                self.rank,
                coordinator_bind_address=f"127.0.0.1:{self.port}",
            )


class Processes:
    """Processes of one run, from their start on; all are gone when the block ends.

    Args:
      function: of a module in tests/helpers; given a :class:`Place` and the arguments,
        it gives the exit status.
      arguments: the same for all.
      count: how many processes the run has.
      devices: of each.
      logs: a folder for `rank_N.log`, which further runs go on with.
      ranks: those that start; default, all.
    """

    def __init__(
        self,
        function: Callable[..., int | None],
        *arguments: Any,
        count: int,
        devices: int,
        logs: pathlib.Path,
        ranks: Iterable[int] | None = None,
    ):
        logs.mkdir(parents=True, exist_ok=True)
        self._logs, self._began, self._ended = logs, time.monotonic(), {}
        port = free_port()
        self._processes = {
            rank: _server().Process(
                target=_work,
                args=(
                    Place(rank, count, devices, port),
                    str(self._log(rank)),
                    function,
                    arguments,
                ),
            )
            for rank in (range(count) if ranks is None else ranks)
        }
        for process in self._processes.values():
            process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def send(self, rank: int, sign: signal.Signals) -> None:
        """Send a signal to a process; one that has ended gets none."""
        process = self._processes[rank]
        if process.is_alive():
            os.kill(process.pid, sign)

    def process_id(self, rank: int) -> int:
        """A process's number."""
        return self._processes[rank].pid

    def status(self, rank: int) -> int | None:
        """What a shell would say of a process's end; None while it runs."""
        code = self._processes[rank].exitcode
        if code is None:
            return None
        self._ended.setdefault(rank, time.monotonic())
        return shell_status(code)

    def seconds(self, rank: int, since: float) -> float:
        """How long after a `time.monotonic()` a process was seen to have ended."""
        return self._ended[rank] - since

    @property
    def running(self) -> list[int]:
        """The ranks that have not ended."""
        return [rank for rank in self._processes if self.status(rank) is None]

    def until(self, ready: Callable[[], Any], timeout: float) -> bool:
        """Waits until something is so; False where a process ended before.

        Raises:
          TimeoutError: it took too long; with the ends of the logs.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if len(self.running) < len(self._processes):
                return False
            self._check(deadline, timeout)
            time.sleep(0.002)
        return True

    def wait(self, timeout: float) -> list[int]:
        """Waits until all have ended, and gives their statuses by rank.

        Raises:
          TimeoutError: one has not; all are killed.
        """
        deadline = time.monotonic() + timeout
        while self.running:
            self._check(deadline, timeout)
            time.sleep(0.01)
        return [self.status(rank) for rank in self._processes]

    def _check(self, deadline: float, timeout: float) -> None:
        if time.monotonic() > deadline:
            left = self.running
            self.kill()
            raise TimeoutError(
                f"ranks {left} still ran after {timeout} s\n{self.ends_of_logs()}"
            )

    def kill(self) -> None:
        """SIGKILL for what still runs."""
        for rank in self.running:
            self._processes[rank].kill()
        for process in self._processes.values():
            process.join()

    def log(self, rank: int) -> str:
        """All that a process and its forerunners of that rank printed."""
        path = self._log(rank)
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _log(self, rank: int) -> pathlib.Path:
        return self._logs / f"rank_{rank}.log"

    def ends_of_logs(self, size: int = 3000) -> str:
        """What was printed last, by rank, for the message of a failure."""
        return "\n".join(
            f"--- rank {rank}\n{self.log(rank)[-size:]}" for rank in self._processes
        )


def run_together(
    function: Callable[..., int | None],
    *arguments: Any,
    count: int,
    devices: int,
    timeout: float,
    logs: pathlib.Path | None = None,
) -> None:
    """Runs a function in several processes, which must all end with 0.

    Args:
      function, arguments, count, devices, logs: as for :class:`Processes`; without
        `logs` they are removed at the end.
      timeout: seconds until each must have ended.

    Raises:
      AssertionError: one ended otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = logs or pathlib.Path(folder)
        processes = Processes(
            function, *arguments, count=count, devices=devices, logs=logs
        )
        with processes:
            statuses = processes.wait(timeout)
            assert statuses == [0] * count, f"{statuses}\n{processes.ends_of_logs()}"


def execute(place: Place, program: str, *arguments: str) -> None:
    """Runs a program's text, whose processes have met, with `sys.argv[1:]`."""
    place.join()
    sys.argv = ["program", *arguments]
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})  # noqa: S102


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _server():
    """The server of forks, which starts at the first call."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([_IMPORTED])
    # It learns where modules are from its environment alone.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [_HELPERS, *filter(None, [os.getcwd(), before])]
    )
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return server


def _work(place: Place, log: str, function: Callable, arguments: tuple) -> None:
    import cheap_compilation

    _die_with_parent()
    # The server lives as long as anybody holds this pipe: the one who started all, alone.
    os.close(forkserver._forkserver._forkserver_alive_fd)
    with open(log, "ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout.reconfigure(line_buffering=True)
    cheap_compilation.configure(place.devices)
    try:
        status = function(place, *arguments)
    finally:
        # As a process does that is no fork: JAX leaves its peers here.
        atexit._run_exitfuncs()
    sys.exit(status)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
