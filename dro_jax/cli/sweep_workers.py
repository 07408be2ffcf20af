"""`dro-jax sweep --workers N`: N processes of this machine, each the same command.

They know each other by the storage alone, as workers of other machines do.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from dro_jax.cli.sweep_devices import devices_of
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE, EXIT_CODES, shell_status
from dro_jax.launching.last_lines import last_lines
from dro_jax.messages import say, warn
from dro_jax.paths import make_folder
from dro_jax.plurals import counted

LOGS = "workers"
STORAGE_VARIABLE = "DRO_JAX_STORAGE"
_POLL_SECONDS = 0.2
_PROGRAM = (sys.executable, "-P", "-m", "dro_jax.cli.main")


@dataclasses.dataclass(frozen=True)
class Place:
    """Which worker of a sweep's own process this process is.

    Attributes:
      number: from 1.
      parent: the number of the process that started it.
    """

    number: int
    parent: int

    def __str__(self) -> str:
        return f"{self.number},{self.parent}"

    @classmethod
    def of(cls, text: str) -> "Place":
        """What a worker's flag says."""
        return cls(*map(int, text.split(",")))

    @property
    def log(self) -> str:
        """Where its words go, within the sweep's folder."""
        return f"{LOGS}/{self.number}.log"

    def follow_parent(self) -> None:
        """Ends this process in good order, once its parent is gone without a word."""

        def watch() -> None:
            while os.getppid() == self.parent:
                time.sleep(1.0)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="parent", daemon=True).start()


def command_of(arguments: Any) -> tuple[list[str], Mapping[str, str]]:
    """The same command for one worker, and its variables.

    The storage's address may hold a password, which everybody sees on a command line.
    """
    words = [*_PROGRAM, "sweep", f"--output_dir={arguments.output_dir}"]
    for flag in ("gin_file", "allow_import"):
        words += [f"--{flag}={value}" for value in getattr(arguments, flag) or ()]
    for flag in ("gin_search_paths", "prepared_dir"):
        if value := getattr(arguments, flag, None):
            words.append(f"--{flag}={value}")
    words += ["--fast"] if arguments.fast else []
    for binding in arguments.gin_bindings:
        name, _, value = binding.partition(" = ")
        words.append(f"--gin.{name}={value}")
    storage = arguments.storage
    return words, {STORAGE_VARIABLE: storage} if storage else {}


def run_workers(
    count: int,
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: pathlib.Path,
    *,
    unfinished: Callable[[], int],
    tell: Callable[[], None],
    tell_seconds: float = 5.0,
) -> None:
    """Starts workers, and returns once all of them have ended.

    SIGTERM and Ctrl-C, raised here as exceptions, end them with what they have saved, a
    second one at once. One that ends otherwise is told of, and the others go on: whatever
    it had in hand is taken up by them.

    Args:
      count: how many.
      words: the command of one, to which `--worker=…` is added.
      environment: variables beside this process's own.
      folder: the sweep's; logs are `workers/N.log`.
      unfinished: counts trials that wait or run.
      tell: called now and then, and at the end.
      tell_seconds: how often.

    Raises:
      ConfigError: there are fewer devices; or none is left, and trials are.
    """
    workers = _Workers(folder)
    with workers.ended():
        for number, devices in enumerate(devices_of(count), 1):
            workers.start(number, words, environment, devices)
        say(
            f"{counted(count, 'worker')}, whose words are in "
            f"{folder / LOGS}/*.log; Ctrl-C ends them with what they have saved"
        )
        told = time.monotonic()
        while workers.are_left():
            time.sleep(_POLL_SECONDS)
            if time.monotonic() - told >= tell_seconds:
                tell()
                told = time.monotonic()
    tell()
    if left := unfinished():
        raise ConfigError(
            f"no worker is left, and {counted(left, 'trial')} are not done: see above "
            "what ended them. The same command goes on with what is left"
        )


class _Workers:
    """Processes that run."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        make_folder(folder / LOGS)
        self._running: dict[int, tuple[subprocess.Popen, int]] = {}

    def start(self, number, words, environment, devices) -> None:
        """Starts a worker on devices of its own."""
        place = Place(number, os.getpid())
        with (self._folder / place.log).open("ab") as log:
            _head(log, number)
            process = subprocess.Popen(
                [*words, f"--worker={place}"],
                env=os.environ | dict(environment) | dict(devices.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches this process alone, which ends them.
                start_new_session=True,
            )
            begun = log.tell()
        self._running[number] = process, begun
        devices.give_to(process.pid)

    def are_left(self) -> bool:
        """Whether any runs; tells of those that have ended."""
        for number, (process, begun) in [*self._running.items()]:
            if process.poll() is not None:
                del self._running[number]
                self._tell(number, shell_status(process.returncode), begun)
        return bool(self._running)

    def _tell(self, number: int, status: int, begun: int) -> None:
        if status == DONE.number:
            return
        code = EXIT_CODES.get(status)
        path = self._folder / LOGS / f"{number}.log"
        left = len(self._running)
        goes_on = (
            f"{counted(left, 'worker')} go on, also with its trial"
            if left > 1
            else "the other one goes on, also with its trial"
            if left
            else "none is left"
        )
        how = f"{code.name}: {code.meaning}" if code else f"status {status}"
        lines = "".join(f"\n  {line}" for line in last_lines(path, begun))
        warn(f"worker {number} ended ({how}); {goes_on}. The end of {path}:{lines}")

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """Whatever ends the block ends the workers too."""
        try:
            yield
        except BaseException:
            if self._running:
                with contextlib.suppress(Exception):
                    say(
                        "the workers save what they have; Ctrl-C again ends them at once"
                    )
            self._signal(signal.SIGTERM)
            try:
                for process, _ in self._running.values():
                    process.wait()
            except BaseException:
                self._signal(signal.SIGKILL)
                raise
            raise

    def _signal(self, number: int) -> None:
        for process, _ in self._running.values():
            if process.poll() is None:
                # What it started ends with it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)


def _head(log: IO[bytes], number: int) -> None:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    log.write(f"--- worker {number}, {now}\n".encode())
    log.flush()
