"""A PostgreSQL server for a test, from Debian's binaries; no service, no network."""

import contextlib
import glob
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

# PostgreSQL refuses root, and Debian's package makes this user.
_USER = "postgres"
_OPTIONS = "-c listen_addresses='' -c fsync=off -k {folder}"


def binaries() -> pathlib.Path | None:
    """The newest version's folder of programs; None, none is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return pathlib.Path(found[-1]) if found else None


class Server:
    """A server that runs."""

    def __init__(self, programs: pathlib.Path, folder: pathlib.Path):
        self._programs, self._folder = programs, folder
        self._data = folder / "data"
        self._user = {"user": _USER} if os.geteuid() == 0 else {}
        self._run("initdb", "--auth=trust", "--no-sync", f"--username={_USER}")

    @property
    def url(self) -> str:
        """Its address, as people type it."""
        return f"postgresql://{_USER}@/postgres?host={self._folder}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = _OPTIONS.format(folder=self._folder)
        log = self._folder / "server.log"
        self._run("pg_ctl", "start", "--wait", "-o", options, "-l", str(log))

    def stop(self) -> None:
        """Ends it and whatever is connected."""
        self._run("pg_ctl", "stop", "-m", "immediate")

    def _run(self, program: str, *words: str) -> None:
        # Its children would hold a pipe open.
        subprocess.run(
            [self._programs / program, "-D", self._data, *words],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            **self._user,
        )


@contextlib.contextmanager
def server(programs: pathlib.Path) -> Iterator[Server]:
    """A server with an empty database, which ends with the block."""
    # Names of sockets may have 107 characters, fewer than a test's folder.
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as name:
        if os.geteuid() == 0:
            shutil.chown(name, _USER)
        made = Server(programs, pathlib.Path(name))
        made.start()
        try:
            yield made
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                made.stop()
