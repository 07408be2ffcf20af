"""What a launch writes and prints before anything runs."""

import os
import pathlib
import shlex
from collections.abc import Iterator

from dro_jax.launching.interface import Prepared
from dro_jax.paths import make_folder
from dro_jax.whole_files import write_whole


def text_of(prepared: Prepared, folder: str) -> str:
    """All files and commands as a person reads them; nothing is written."""
    return "\n".join(_lines(prepared, folder)) + "\n"


def _lines(prepared: Prepared, folder: str) -> Iterator[str]:
    for name, text in prepared.files.items():
        yield f"# file {os.path.join(folder, name)}"
        yield text
    for words in prepared.commands:
        yield shlex.join(words)
    for note in prepared.notes:
        yield f"# note: {note}"


def write(prepared: Prepared, folder: str) -> None:
    """Writes the files; those named `.sh` may be run.

    Raises:
      ConfigError: the folder cannot be made or written to.
    """
    for name, text in prepared.files.items():
        path = pathlib.Path(folder, name)
        make_folder(path.parent, "--launch_dir")
        write_whole(path, lambda file, text=text: file.write(text.encode()))
        if path.suffix == ".sh":
            path.chmod(0o755)
