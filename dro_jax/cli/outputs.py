"""Files that commands write: their places checked before the work, whole afterwards."""

import contextlib
import dataclasses
import glob
import io
import json
import os
import pathlib
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from dro_jax import paths
from dro_jax.cli.compressed_output import compressed
from dro_jax.errors import ConfigError
from dro_jax.messages import is_first

STDOUT = "-"
_FILE_FLAGS = ("output", "json", "png")
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD = {STDOUT: 1, "/dev/stdout": 1, "/dev/stderr": 2}
_TABLES = re.compile(
    r".*\.(csv|tsv|parquet|arrow|feather|xlsx)(\.(gz|bz2|xz|zst))?", re.DOTALL
)
_NO_FILES = {stat.S_IFBLK: "a disk", stat.S_IFSOCK: "a socket"}

Write = Callable[[bytes], Any]


@dataclasses.dataclass(frozen=True)
class Output:
    """Where a command writes a file; of several processes the first, and it alone.

    A plain file, or what a link leads to, appears whole or not at all. A pipe or a
    device is written to as it is, `-` is the standard output. What is named `.gz`,
    `.bz2`, `.xz` or `.zst` is compressed.

    Attributes:
      flag: gave it, as `--output`.
      path: as it was given, expanded.
      descriptor: of the open file that it stands for, where it is one.
      streamed: whether it is written to as it is.
    """

    flag: str
    path: str
    descriptor: int | None = None
    streamed: bool = False

    @classmethod
    def at(cls, flag: str, path: str | os.PathLike) -> "Output":
        """An output, checked as far as can be without writing to it.

        Raises:
          ConfigError: nothing can be written there.
        """
        given = os.fspath(path)
        if not is_first():
            return cls(flag, given, streamed=True)  # nothing is looked at or written
        _check_is_named(flag, given)
        if given in _STANDARD or (match := _DESCRIPTOR.fullmatch(given)):
            number = _STANDARD.get(given) or int(match[1])
            with refused(flag, given):
                os.fstat(number)
            return cls(flag, given, number, streamed=True)
        expanded = paths.expanded(given)
        if paths.is_url(expanded):
            raise ConfigError(
                f"{flag} {given}: files are written to local folders alone. Write it to "
                "one, and copy it"
            )
        with refused(flag, given):
            return cls(flag, expanded, streamed=_is_streamed(flag, expanded))

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return "standard output" if self.path == STDOUT else self.path

    def check_holds_records(self, source: str) -> None:
        """Refuses a file that is no place for JSON lines made from a source.

        Raises:
          ConfigError: its name promises a table, or it is what is read.
        """
        if _TABLES.fullmatch(self.path.lower()):
            raise ConfigError(
                f"{self.flag} {self.path}: records are written as JSON lines, not as "
                "tables: name it .jsonl, or .jsonl.gz"
            )
        if not self.streamed and self._is_among(source):
            raise ConfigError(
                f"{self.flag} {self.path} is read by --input {source}, and would be "
                "replaced or read again next time: give another file"
            )

    def _is_among(self, source: str) -> bool:
        """Whether the file is, or once it is there will be, read from a source."""
        target, read = map(os.path.realpath, (self.path, source))
        if os.path.isdir(read):
            return os.path.dirname(target) == read
        if os.path.exists(read) or not glob.has_magic(source):
            return target == read
        found = map(os.path.realpath, glob.glob(source, recursive=True))
        return target in found or pathlib.PurePath(target).match(read)

    def write(self, produce: Callable[[Write], Any]) -> None:
        """Calls a function with what writes bytes, and keeps the whole.

        On another process than the first the function is not called.

        Raises:
          ConfigError: the system refuses it.
        """
        if not is_first():
            return
        # Imports jax, and checks come before that.
        from dro_jax.training.atomic_files import write_whole

        with refused(self.flag, self.path):
            if self.streamed:
                with self._open() as file, compressed(file, self.path) as inside:
                    produce(_flushing(inside))
                return

            def write_file(file: BinaryIO) -> None:
                with compressed(file, self.path) as inside:
                    produce(inside.write)

            write_whole(pathlib.Path(os.path.realpath(self.path)), write_file)

    def write_text(self, text: str) -> None:
        """Writes a text, and a line's end."""
        self.write(lambda write: write(f"{text}\n".encode()))

    def write_json(self, value: Any) -> None:
        """Writes a value as JSON that people can read."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        self.write_text(text)

    def write_picture(self, draw: Callable[[BinaryIO], Any]) -> None:
        """Writes what a function draws into a file."""

        def produce(write: Write) -> None:
            picture = io.BytesIO()
            draw(picture)
            write(picture.getvalue())

        self.write(produce)

    def write_records(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Writes records as JSON lines, each as it comes; returns how many."""
        count = 0

        def produce(write: Write) -> None:
            nonlocal count
            for record in records:
                write(_line(record))
                count += 1

        self.write(produce)
        return count

    def _open(self) -> BinaryIO:
        if self.descriptor is None:
            return open(self.path, "wb")
        # What was printed comes first; a copy, so that the command keeps its own.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return os.fdopen(os.dup(self.descriptor), "wb")


@contextlib.contextmanager
def prepared(arguments) -> Iterator[None]:
    """Puts an `Output` in place of each file that a command's flags name.

    Where one takes the standard output, what is printed goes to the standard error.

    Raises:
      ConfigError: one cannot be written, or two are the same.
    """
    found: dict[str, Output] = {}
    for name in _FILE_FLAGS:
        if (path := getattr(arguments, name, None)) is None:
            continue
        output = Output.at(f"--{name}", path)
        # Two names of one file are one place; what goes nowhere may be given twice.
        place = str(output.descriptor or os.path.realpath(output.path))
        if place in found and place != os.devnull:
            raise ConfigError(
                f"{found[place].flag} and {output.flag} both write to {path}: give two "
                "files"
            )
        found[place] = output
        setattr(arguments, name, output)
    if (folder := getattr(arguments, "output_dir", None)) is not None:
        arguments.output_dir = check_folder("--output_dir", folder)
    if any(output.descriptor == 1 for output in found.values()):
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def check_folder(flag: str, folder: str | os.PathLike) -> pathlib.Path:
    """A folder to write in, its path expanded; it need not be there yet.

    Raises:
      ConfigError: it cannot be made or written to.
    """
    _check_is_named(flag, os.fspath(folder))
    expanded = paths.expanded(folder)
    if paths.is_url(expanded):
        raise ConfigError(f"{flag} {folder}: give a local folder, and copy it")
    path = pathlib.Path(os.path.realpath(expanded))
    with refused(flag, os.fspath(folder)):
        existing = next(p for p in (path, *path.parents) if os.path.lexists(p))
        _probe(existing)
    return pathlib.Path(expanded)


def _check_is_named(flag: str, path: str) -> None:
    if not path:
        raise ConfigError(
            f"{flag} is given nothing: name a path (is a variable unset?)"
        )


def _is_streamed(flag: str, path: str) -> bool:
    target = os.path.realpath(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        # Of a link that leads nowhere, the target is made.
        if path.endswith("/"):
            raise IsADirectoryError(None, "it is a folder: name a file in it") from None
        folder = os.path.dirname(target)
        if not os.path.exists(folder):
            raise FileNotFoundError(
                None, f"the folder {folder} does not exist: make it first"
            ) from None
        _probe(folder)
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder: name a file in it")
    if kind := _NO_FILES.get(stat.S_IFMT(mode)):
        raise OSError(None, f"it is {kind}")
    if not os.access(path, os.W_OK):
        raise PermissionError(None, "you may not write to it")
    if not stat.S_ISREG(mode):
        return True
    try:
        _probe(os.path.dirname(target))
    except OSError:
        return True  # the file may be written, its folder may not
    return False


def _probe(folder: str | os.PathLike) -> None:
    """Makes a file without a name in a folder: what permissions say is not all."""
    if not os.path.isdir(folder):
        raise NotADirectoryError(None, f"{folder} is no folder")
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextlib.contextmanager
def refused(flag: str, path: str) -> Iterator[None]:
    """What the system refuses in the block is a `ConfigError` that names flag and path."""
    try:
        yield
    except BrokenPipeError as error:
        raise ConfigError(f"{flag} {path}: nobody reads it any more") from error
    except (OSError, OverflowError, ValueError) as error:
        if isinstance(error, ValueError) and "null byte" not in str(error):
            raise
        raise ConfigError(
            f"{flag} {path} cannot be written ({paths.reason(error)})"
        ) from error


def _flushing(file: BinaryIO) -> Write:
    # Who reads a pipe gets each record as soon as it is made.
    def write(data: bytes) -> None:
        file.write(data)
        file.flush()

    return write


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return f"{json.dumps(record, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return f"{json.dumps(record)}\n".encode()
