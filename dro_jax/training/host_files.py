"""The first process's files on every host, whether or not hosts share a folder.

What a run computes once is written by its first process. Where the others see that
process's folder there is nothing to do. Where each host has a folder of its own, those
that lack a file, or hold another, are sent it: in pieces, through the devices.
"""

import contextlib
import pathlib
import uuid
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from jax.experimental import multihost_utils

from dro_jax.errors import CheckpointError
from dro_jax.paths import make_folder, reason
from dro_jax.training import hosts
from dro_jax.whole_files import write_whole

_PIECE = 1 << 22  # bytes that are sent at once
_READ_AT_ONCE = 1 << 20
# Of a file: (name, bytes, CRC-32).
_Facts = list


def share_files(folder: pathlib.Path, names: Sequence[str]) -> None:
    """Lets each process find the first one's files in its own folder of that name.

    All processes must call this, after the first has written the files.

    Args:
      folder: where they lie; made where it is missing.
      names: of the files, the same for all. The last is the mark of a whole set: on a
        host that must be sent something it goes first, and comes last.

    Raises:
      CheckpointError: the first process cannot read one.
    """
    if hosts.count() == 1:
        return
    # Who shares the first one's folder has its files, and must not write there.
    shares = _sees_probe(folder)
    if all(hosts.exchange(shares)):
        return
    wanted = hosts.first_says(lambda: _wanted(folder, names))
    lacking = [] if shares else _lacking(folder, wanted)
    every = hosts.exchange(lacking)
    if lacking:
        (folder / names[-1]).unlink(missing_ok=True)
        lacking = sorted({*lacking, names[-1]}, key=list(names).index)
    sent = {name for own in every for name in own}
    sent |= {names[-1]} if sent else set()
    for name, size, _ in wanted:
        if name in sent:
            _send(folder / name, size, keep=name in lacking)


def _sees_probe(folder: pathlib.Path) -> bool:
    """Whether this process sees a file that the first one has just made."""
    # By a name that nobody looked for before: what network file systems remember of a
    # folder for a while is then asked anew.
    name = f"{uuid.uuid4().hex}.partial"

    def make() -> str:
        make_folder(folder)
        (folder / name).touch()
        return name

    probe = folder / hosts.first_says(make)
    seen = probe.exists()
    hosts.meet("all have looked")
    if hosts.index() == 0:
        probe.unlink(missing_ok=True)
    return seen


def _wanted(folder: pathlib.Path, names: Sequence[str]) -> list[_Facts]:
    try:
        return [_facts(folder / name) for name in names]
    except OSError as error:
        raise CheckpointError(
            f"{error.filename} cannot be read ({reason(error)}): delete {folder}, and the "
            "run computes what it holds anew"
        ) from error


def _facts(path: pathlib.Path) -> _Facts:
    check, size = 0, 0
    with path.open("rb") as file:
        while data := file.read(_READ_AT_ONCE):
            check, size = zlib.crc32(data, check), size + len(data)
    return [path.name, size, check]


def _lacking(folder: pathlib.Path, wanted: Sequence[_Facts]) -> list[str]:
    """Which files are not there as they are wanted."""
    return [
        name
        for name, size, check in wanted
        if not (path := folder / name).is_file()
        or path.stat().st_size != size
        or _facts(path) != [name, size, check]
    ]


def _send(path: pathlib.Path, size: int, *, keep: bool) -> None:
    """Sends one of the first process's files to all; those that lack it keep it."""
    pieces = _pieces(path, size)
    if keep:
        make_folder(path.parent)
        write_whole(path, lambda file: file.writelines(piece.data for piece in pieces))
    else:
        for _ in pieces:
            pass


def _pieces(path: pathlib.Path, size: int) -> Iterator[np.ndarray]:
    """The first process's bytes, piece by piece, on all."""
    first = hosts.index() == 0
    with path.open("rb") if first else contextlib.nullcontext() as file:
        for begin in range(0, size, _PIECE):
            # All of one size, for which one program is compiled.
            piece = np.zeros(_PIECE, np.uint8)
            count = min(_PIECE, size - begin)
            if first:
                piece[:count] = np.frombuffer(file.read(count), np.uint8)
            yield np.asarray(multihost_utils.broadcast_one_to_all(piece))[:count]
