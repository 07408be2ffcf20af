"""What a file holds, told without reading it again while it is untouched."""

import dataclasses
import hashlib
import json
import os
import pathlib
import stat
import time

from dro_jax import paths
from dro_jax.data.store.folders import kept_root, store_root
from dro_jax.whole_files import write_json

# A unit of work: large enough that its files and its claim cost nothing, small enough
# that a killed pass loses a minute and that many processes find work.
UNIT_BYTES = 1 << 26
_CHUNK = 1 << 20
_BUFFERED = 1 << 22
# A file that is written again so soon after may keep its time, which has a granularity
# (2 s on some file systems), so such facts are not trusted; git's index does the same.
_RACY_NS = 3_000_000_000


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """A local file's contents, in short.

    Attributes:
      sha256: of its bytes.
      size: in bytes.
      mtime_ns: when it was last written.
      cuts: (byte, line number from 1) where lines begin that a unit may begin with: the
        first after each `UNIT_BYTES`.
    """

    sha256: str
    size: int
    mtime_ns: int
    cuts: tuple[tuple[int, int], ...] = ()


def file_status(path: str) -> tuple[int, int]:
    """(Size, time of writing) of a file."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def file_facts(path: str) -> FileFacts | None:
    """The facts of a file; None for a URL, a pipe, or what is not there.

    They are remembered in the folder of stores by path, size, time of writing and time
    of change.
    """
    if paths.is_url(path):
        return None
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        name = _memory(path)
        if found := _remembered(kept_root() / name, status):
            return found
        memory = store_root() / name
        return _remembered(memory, status) or _read(path, memory)
    except OSError:
        return None  # The error comes, with its advice, where records are read.


def _memory(path: str) -> str:
    digest = hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()
    return f"files/{digest[:32]}.json"


def _remembered(memory: pathlib.Path, status: os.stat_result) -> FileFacts | None:
    try:
        kept = json.loads(memory.read_bytes())
        cuts = tuple((int(byte), int(line)) for byte, line in kept["cuts"])
        facts = FileFacts(kept["sha256"], kept["size"], kept["mtime_ns"], cuts)
        is_racy = kept["read_ns"] - facts.mtime_ns < _RACY_NS
        if is_racy or kept["unit_bytes"] != UNIT_BYTES or _changed(facts, status):
            return None
        # Archives and copies set the time of writing; that of change none can set.
        return facts if kept["ctime_ns"] == status.st_ctime_ns else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _changed(facts: FileFacts, status: os.stat_result) -> bool:
    return (status.st_size, status.st_mtime_ns) != (facts.size, facts.mtime_ns)


def _read(path: str, memory: pathlib.Path) -> FileFacts:
    read_ns = time.time_ns()
    digest, cuts = hashlib.sha256(), []
    size, lines, wanted = 0, 1, UNIT_BYTES
    with open(path, "rb", buffering=_BUFFERED) as file:
        status = os.fstat(file.fileno())
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            place = 0
            # Several cuts lie in one chunk only where units are small, as in tests.
            while size + len(chunk) > wanted:
                newline = chunk.find(b"\n", max(place, wanted - size))
                if newline < 0:
                    break
                lines += chunk.count(b"\n", place, newline + 1)
                place = newline + 1
                cuts.append((size + place, lines))
                wanted = size + place + UNIT_BYTES
            lines += chunk.count(b"\n", place)
            size += len(chunk)
    if cuts and cuts[-1][0] == size:
        cuts.pop()
    facts = FileFacts(digest.hexdigest(), size, status.st_mtime_ns, tuple(cuts))
    kept = dataclasses.asdict(facts) | {"read_ns": read_ns, "unit_bytes": UNIT_BYTES}
    kept["ctime_ns"] = status.st_ctime_ns
    if size == status.st_size and read_ns - status.st_mtime_ns >= _RACY_NS:
        _remember(memory, {**kept, "path": os.path.abspath(path)})
    return facts


def _remember(memory: pathlib.Path, kept: dict) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, kept)
    except (OSError, UnicodeEncodeError):
        pass  # Then the file is read again at the next start.
