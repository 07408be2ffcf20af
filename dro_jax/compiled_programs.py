"""Compiled programs kept on disk from run to run, by JAX's persistent cache.

JAX asks a store of bytes by key; the key is a digest of the program, the compiler's
version and its options. JAX's own store writes files that a reader may find half
written, keeps damaged ones for ever, and needs one more package to bound its size. The
store here writes files whole, checks what it reads, and drops what was not used longest.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import platform
import stat
import sys
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from dro_jax import paths
from dro_jax.errors import ConfigError
from dro_jax.import_hooks import after_import
from dro_jax.messages import note

VARIABLE = "DRO_JAX_COMPILATION_CACHE_DIR"
OF_JAX = "JAX_COMPILATION_CACHE_DIR"
NONE = "none"
_ENABLED = "JAX_ENABLE_COMPILATION_CACHE"
MAX_BYTES = 2 << 30
# Programs that compile faster are not worth a file.
_LEAST_SECONDS = 0.05
_TRUE = ("true", "1", "yes", "on", "y", "t")  # as JAX reads its variables
_before_without: list[str] = []  # what the variable held before a command did without
_SUFFIX = ".program"
_DIGEST_BYTES = 32
_KEPT_SHARE = 0.8  # of MAX_BYTES, once it has been reached
# A writer that was killed leaves its file.
_ABANDONED_SECONDS = 3600.0


def keep_compiled_programs(enabled: bool = True) -> None:
    """Has JAX keep what it compiles in this process, whenever it is imported.

    A folder that JAX's own variable names is left to JAX.

    Args:
      enabled: False, nothing that has been compiled before is used, or kept, here and in
        processes that this one starts.
    """
    if not enabled:
        if not _before_without:
            _before_without.append(os.environ.get(_ENABLED, "true"))
        os.environ[_ENABLED] = "false"
        after_import("jax", functools.partial(_set_enabled, False))
        return
    if _before_without:  # an earlier command of this process did without
        os.environ[_ENABLED] = before = _before_without.pop()
        after_import("jax", functools.partial(_set_enabled, before.lower() in _TRUE))
    if os.environ.get(OF_JAX):
        return
    folder = os.environ.get(VARIABLE) or paths.user_cache("compiled")
    if folder.lower() != NONE:
        after_import("jax", lambda: _enable(folder))


class ProgramStore:
    """Programs by key, as JAX's cache wants them (`CacheInterface`).

    Any number of processes may use a folder at once, and be killed there.

    Args:
      folder: local; made where it is missing.
      max_bytes: about the most that it holds.
      whole: a folder around it whose parts share `max_bytes`; default none.

    Raises:
      OSError: it cannot be made or read.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        max_bytes: int = MAX_BYTES,
        whole: str | os.PathLike | None = None,
    ):
        self._path = pathlib.Path(folder)
        self._whole = None if whole is None else pathlib.Path(whole)
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._max_bytes = max_bytes
        self._size: int | None = None
        self._is_written = True

    def get(self, key: str) -> bytes | None:
        """A program; None where there is none, or its file is damaged."""
        path = self._file(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, program = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        is_whole = digest == hashlib.sha256(program).digest()
        with contextlib.suppress(OSError):  # of a folder that may be read only
            if is_whole:
                os.utime(path)
            else:
                path.unlink()  # so that it is compiled and written anew
        return program if is_whole else None

    def put(self, key: str, value: bytes) -> None:
        """Keeps a program, unless its file is there."""
        path = self._file(key)
        if not self._is_written or len(value) > self._max_bytes or path.exists():
            return
        partial = path.with_name(f"{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(hashlib.sha256(value).digest() + value)
            os.replace(partial, path)
            self._bound(len(value))
        except OSError as error:
            self._is_written = False
            partial.unlink(missing_ok=True)
            note(
                f"compiled programs cannot be kept in {self._path} "
                f"({paths.reason(error)}), so the next start compiles them again: make "
                f"room, or set {VARIABLE} to another folder or to '{NONE}'"
            )

    def _file(self, key: str) -> pathlib.Path:
        # Keys begin with the program's name, which may be longer than a file's.
        return self._path / (hashlib.sha256(key.encode()).hexdigest()[:40] + _SUFFIX)

    def _bound(self, added: int) -> None:
        """Removes what was not used longest, where there is too much."""
        if self._size is not None:
            self._size += added
        if self._size is not None and self._size <= self._max_bytes:
            return
        files = self._files()
        self._size = sum(size for _, size, _ in files)
        for _, size, path in files if self._size > self._max_bytes else ():
            if self._size <= _KEPT_SHARE * self._max_bytes:
                break
            path.unlink(missing_ok=True)
            self._size -= size

    def _files(self) -> list[tuple[float, int, pathlib.Path]]:
        """(When it was last used, size, path) of each program, in that order."""
        found, now = [], None
        for entry in self._entries():
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # another process has removed it
            now = max(now or 0.0, status.st_mtime)
            found.append((status.st_mtime, status.st_size, pathlib.Path(entry.path)))
        for used, _, path in found:
            if path.suffix == ".partial" and now - used > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
        return sorted(one for one in found if one[2].suffix == _SUFFIX)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        yield from os.scandir(self._path)
        if self._whole is None:
            return
        # Parts of other kinds of machines, and of versions that are used no more.
        for part in os.scandir(self._whole):
            if part.is_dir(follow_symlinks=False) and part.name != self._path.name:
                yield from os.scandir(part)


def machine_name(facts: Mapping[str, str] | None = None) -> str:
    """A name for machines that may share programs.

    On a CPU a program is made for its instructions and for the cores that its process may
    use, of which JAX's key knows nothing; another CPU that lacks one, in a cluster that
    shares home folders, would end with an illegal instruction, and what was compiled on
    one core would stay on one.

    Args:
      facts: for tests; default those of this machine.
    """
    facts = _facts() if facts is None else facts
    text = repr(sorted(facts.items()))
    return f"jaxlib-{facts['jaxlib']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _facts() -> dict[str, str]:
    import jaxlib

    return {
        "jaxlib": jaxlib.__version__,
        "system": platform.system(),
        "architecture": platform.machine(),
        "instructions": _instructions(),
        "cores": _cores(),
    }


def _cores() -> str:
    """Those that a process may use, into so many parts XLA cuts a program on CPU."""
    if given := os.environ.get("NPROC"):  # as XLA reads it
        return given
    with contextlib.suppress(AttributeError):  # not on every system
        return str(len(os.sched_getaffinity(0)))
    return str(os.cpu_count())


def _instructions() -> str:
    """What the CPU can do, in the system's words."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            wanted = ("flags", "Features", "model name", "CPU part", "isa")
            lines = {x.strip() for x in file if x.partition("\t")[0].strip() in wanted}
            return "\n".join(sorted(lines))
    except OSError:
        return platform.processor()


def _enable(folder: str) -> None:
    import jax
    from jax._src import compilation_cache

    if jax.config.jax_compilation_cache_dir:
        return  # whoever uses this process has one
    try:
        if paths.is_url(folder := paths.expanded(folder)):
            raise ConfigError(f"it is no local folder: {OF_JAX} takes it")
        root = pathlib.Path(os.path.abspath(folder))
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_owner(root)
        store = ProgramStore(root / machine_name(), whole=root)
        _check_owner(store._path)
    except (OSError, ConfigError) as error:
        note(
            f"compiled programs cannot be kept in {folder} "
            f"({paths.reason(error) if isinstance(error, OSError) else error}), so each "
            f"start compiles them: set {VARIABLE} to another folder, or to '{NONE}'"
        )
        return
    # JAX has no public name for a store of one's own; without this one it uses its own
    # in the same folder, and all is well but for what the store here is better at.
    if hasattr(compilation_cache, "get_file_cache"):
        _install(compilation_cache, store)
    jax.config.update("jax_compilation_cache_dir", str(store._path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)


def _install(module: Any, store: ProgramStore) -> None:
    theirs = module.get_file_cache

    def get_file_cache(path: str) -> Any:
        if path != str(store._path):
            return theirs(path)
        return store, path

    module.get_file_cache = get_file_cache


def _set_enabled(enabled: bool) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_enable_compilation_cache", enabled)
    # What the process's first program found it to be is remembered otherwise.
    compilation_cache.reset_cache()


def _check_owner(folder: pathlib.Path) -> None:
    """Refuses a folder into which others could put programs, which would be run.

    Raises:
      OSError: it is one.
    """
    if sys.platform == "win32":
        return
    if _is_open(folder.stat(), os.getuid()):
        raise PermissionError(
            None, "others can write there, and programs in it would be run"
        )


def _is_open(folder: os.stat_result, user: int) -> bool:
    """Whether others than the user, and root, can write to a folder."""
    # A user's own group has the user's number, where there are such groups.
    of_group = folder.st_mode & stat.S_IWGRP and folder.st_gid != user
    of_all = folder.st_mode & stat.S_IWOTH
    return bool(of_group or of_all) or folder.st_uid not in (user, 0)
