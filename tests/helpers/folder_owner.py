"""Another process that owns a folder, as one that trains there."""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator

_HOLD = """
import sys
from dro_jax.training.run_owner import owned
with owned(sys.argv[1]):
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def other_owner(folder: pathlib.Path) -> Iterator[subprocess.Popen]:
    """The process, which lets go of the folder where its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "owned\n"
        yield process
    finally:
        process.kill()
        process.communicate()
