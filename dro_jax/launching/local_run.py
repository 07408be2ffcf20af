"""Processes of one job on this machine, from their start to one status."""

import contextlib
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, BinaryIO, NamedTuple

from dro_jax import exit_codes
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE, EXIT_CODES, INTERRUPTED, PREEMPTED, shell_status
from dro_jax.launching.last_lines import last_lines
from dro_jax.messages import say
from dro_jax.paths import make_folder

_POLL_SECONDS = 0.05
_SAVING = 10  # times the grace: checkpoints take minutes
# Ends of which a process's own last words tell nothing more.
_IN_ORDER = (DONE.number, PREEMPTED.number, INTERRUPTED.number)
_MOST_SHOWN = 4  # processes of which the last lines are shown


class Rank(NamedTuple):
    """A process to start.

    Attributes:
      number: its place among all.
      words: its command.
      environment: the whole of it.
    """

    number: int
    words: Sequence[str]
    environment: Mapping[str, str]


def run_with_retries(
    ranks: Callable[[], Sequence[Rank]],
    logs: str,
    *,
    retries: int,
    grace_seconds: float,
    together: bool = True,
) -> int:
    """Runs processes to their end, and again while their status is one that is retried.

    SIGTERM and Ctrl-C are handed on to all of them, once; then nothing is retried.

    Args:
      ranks: gives the processes, each time anew.
      logs: the folder of their logs, `rank_N.log`, to which is added.
      retries: how often at most.
      grace_seconds: how long the others may take to end once one has failed, and again
        after SIGTERM.
      together: whether one that fails takes the others along.

    Returns:
      A status of `dro_jax.exit_codes`.
    """
    with _stop_signals() as received:
        for attempt in range(retries + 1):
            if attempt:
                say(f"retry {attempt} of {retries}: the same command goes on")
            job = _Processes(ranks(), logs, grace_seconds if together else math.inf)
            status = job.run(received)
            code = EXIT_CODES.get(status)
            if status:
                say(job.report())
            if received:
                ended = code in (None, INTERRUPTED) or code.retried
                return 128 + received[0] if ended else status
            if code is None or not code.retried:
                break
        return status


class _Processes:
    """Processes that run, and how each ended."""

    def __init__(self, ranks: Sequence[Rank], logs: str, grace_seconds: float):
        self._grace = grace_seconds
        self._logs = make_folder(logs, "--launch_dir")
        self._begun = {}
        self._order: list[int] = []  # of those that ended, as they did
        self._killed: set[int] = set()
        self._copies: list[threading.Thread] = []
        self._processes: list[subprocess.Popen] = []
        self._open = contextlib.ExitStack()
        try:
            for rank in ranks:
                self._start(rank)
        except BaseException:
            self._signal(signal.SIGKILL)
            raise

    def _path(self, number: int) -> pathlib.Path:
        return self._logs / f"rank_{number}.log"

    def _start(self, rank: Rank) -> None:
        file = self._open.enter_context(self._path(rank.number).open("ab"))
        self._begun[rank.number] = file.tell()
        first = rank.number == 0
        try:
            process = subprocess.Popen(
                rank.words,
                env=rank.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if first else file,
                stderr=subprocess.PIPE if first else subprocess.STDOUT,
                # Ctrl-C reaches the launcher alone, which hands it on.
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(f"{rank.words[0]} cannot be run: {error}") from error
        self._processes.append(process)
        if not first:
            return
        for pipe, terminal in (
            (process.stdout, sys.stdout),
            (process.stderr, sys.stderr),
        ):
            copy = threading.Thread(target=_copy, args=(pipe, file, terminal))
            copy.start()
            self._copies.append(copy)

    @property
    def status(self) -> int:
        """That of the job, once all have ended."""
        return exit_codes.of_all(self._statuses())

    def run(self, received: list[int]) -> int:
        """Waits until all have ended.

        Args:
          received: signals that the launcher was sent; each is handed on, the second of
            Ctrl-C as SIGKILL.
        """
        handed_on, ended_at, terminated_at = 0, None, None
        while self._is_running():
            if len(received) > handed_on:
                handed_on = len(received)
                kill = handed_on > 1 and received[-1] == signal.SIGINT
                self._signal(signal.SIGKILL if kill else received[0])
            now = time.monotonic()
            failures = {*self._statuses()} - {DONE.number}
            if failures and ended_at is None:
                ended_at = now
            # Where all are told to stop, the others may still be saving.
            patience = _SAVING if failures == {PREEMPTED.number} else 1
            if failures and now - ended_at >= patience * self._grace:
                if terminated_at is None:
                    terminated_at = now
                    self._signal(signal.SIGTERM)
                elif now - terminated_at >= self._grace:
                    self._signal(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        self._finish_logs()
        return self.status

    def _finish_logs(self) -> None:
        """Waits for what was written; what the processes have left running ends."""
        for copy in self._copies:
            copy.join(timeout=1)
        if any(copy.is_alive() for copy in self._copies):  # a child holds the pipe
            self._signal(signal.SIGKILL, ended=True)
        for copy in self._copies:
            copy.join()
        self._open.close()

    def _is_running(self) -> bool:
        running = False
        for number, process in enumerate(self._processes):
            if process.poll() is None:
                running = True
            elif number not in self._order:
                self._order.append(number)
        return running

    def _statuses(self) -> list[int]:
        return [
            shell_status(self._processes[number].returncode) for number in self._order
        ]

    def _signal(self, number: int, *, ended: bool = False) -> None:
        """Sends a signal to the processes that run, and to their children."""
        for rank, process in enumerate(self._processes):
            runs = process.poll() is None
            if runs or ended:
                if runs and number == signal.SIGKILL:
                    self._killed.add(rank)
                # A process that has just ended, and left nothing, has no group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def report(self) -> str:
        """How each process ended, the first to end first, and its last lines."""
        return "\n".join(self._report())

    def _report(self) -> Iterator[str]:
        yield "rank  status  how it ended"
        for number, status in zip(self._order, self._statuses(), strict=True):
            code = EXIT_CODES.get(status)
            how = f"{code.name}: {code.meaning}" if code else "unknown to dro-jax"
            if number in self._killed:
                how = "killed by the launcher: it went on when another had failed"
            yield f"{number:4}  {status:6}  {how}"
        # Whose status is the job's comes before those that it took along.
        pairs = zip(self._order, self._statuses(), strict=True)
        failed = [
            (status != self.status, number)
            for number, status in pairs
            if status not in _IN_ORDER
        ]
        for _, number in sorted(failed, key=lambda pair: pair[0])[:_MOST_SHOWN]:
            yield f"the last lines of {self._path(number)}:"
            lines = last_lines(self._path(number), self._begun[number])
            yield from (f"  {line}" for line in lines)


def _copy(pipe: IO[bytes], file: BinaryIO, terminal: IO[str]) -> None:
    """Copies what a process writes to its log, and to the terminal while it is read."""
    descriptor: int | None = terminal.fileno()
    begun = b""  # of a line: the other pipe's lines come between lines alone
    with pipe:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            begun += chunk
            end = 1 + max(begun.rfind(b"\n"), begun.rfind(b"\r"))
            file.write(begun[:end])
            file.flush()
            begun = begun[end:]
            try:
                if descriptor is not None:
                    os.write(descriptor, chunk)
            except OSError:
                descriptor = None
    file.write(begun)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The SIGTERM and SIGINT that come while this lasts, in their order.

    A terminal that is closed counts as SIGTERM, but not under `nohup`.
    """
    received: list[int] = []
    handed_on = {
        signal.SIGTERM: signal.SIGTERM,
        signal.SIGHUP: signal.SIGTERM,
        signal.SIGINT: signal.SIGINT,
    }
    before = {
        number: signal.signal(number, lambda n, _: received.append(handed_on[n]))
        for number in handed_on
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
