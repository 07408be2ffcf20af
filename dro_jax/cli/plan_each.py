"""`dro-jax plan --each FOLDER`: the run files of a folder, each on the slice it names."""

import contextlib
import functools
import hashlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import GinFiles
from dro_jax.cli.gin_names import SLICE, missing_names
from dro_jax.cli.plan_placeholders import PLACEHOLDERS
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import PREEMPTED
from dro_jax.messages import say
from dro_jax.planning.search import ENOUGH
from dro_jax.planning.slice_names import check_topology
from dro_jax.whole_files import write_whole

_GIB = 2**30
_HEAD = (
    "run",
    "slice",
    "model TFLOP a step",
    "compiled",
    "GiB a device: state + temporary + program",
    "of",
    "spare",
    "least time a step",
)


def run(arguments: Any) -> None:
    """Plans every run file of a folder, and prints a table in Markdown.

    Plans are kept in a folder, and those of unchanged files not made again.

    Raises:
      ConfigError: a file cannot be planned, or its slice has too little to spare.
    """
    files = runs_in(arguments.each, arguments.gin_search_paths)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_leaving_at_sigterm())
        folder = arguments.plans or stack.enter_context(tempfile.TemporaryDirectory())
        plans = dict(_plans(files, pathlib.Path(folder), arguments))
    print(markdown(plans))
    too_large = [name for name, told in plans.items() if not _has_enough(told)]
    if too_large:
        raise ConfigError(
            f"do not fit, or have less than {ENOUGH:.0%} to spare: "
            f"{', '.join(too_large)}. `dro-jax plan --search` on one of them finds what "
            "to change"
        )


def _has_enough(told: Mapping[str, Any]) -> bool:
    return told["fits"] and (told["spare"] is None or told["spare"] >= ENOUGH)


@contextlib.contextmanager
def _leaving_at_sigterm() -> Iterator[None]:
    """A compiling child ends with this process, which leaves by an exception then."""

    def leave(*_) -> None:
        raise SystemExit(PREEMPTED.number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def runs_in(folder: str, search_paths: str = "") -> dict[str, pathlib.Path]:
    """The run files of a folder by name; those that only others include are left out.

    Raises:
      ConfigError: there are none.
    """
    paths = sorted(pathlib.Path(folder).glob("*.gin"))
    folders = [name for name in search_paths.split(",") if name]
    runs = {path.stem: path for path in paths if not _lacks_an_objective(path, folders)}
    if not runs:
        raise ConfigError(f"--each {folder}: there are no run files *.gin in it")
    return runs


def slice_named_by(
    files: Sequence[str],
    bindings: Sequence[str] = (),
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
) -> str | None:
    """The slice that gin files say they are made for, by `SLICE`; None for none.

    Raises:
      ConfigError: it is no slice; and as `gin_setup.check`.
    """
    made_for = _configuration(files, bindings, search_paths, allow_imports)
    topology = made_for.filled_in(made_for.macros.get(SLICE))
    if topology is not None:
        check_topology(topology, f"{SLICE} =")
    return topology


def markdown(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each plan, as JSON holds it."""
    lines = [_HEAD, ("---",) * len(_HEAD)]
    lines += [_cells(name, told) for name, told in plans.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(name: str, told: Mapping[str, Any]) -> tuple[str, ...]:
    memory, flops, roofline = told["memory"], told["flops"], told["roofline"]
    parts = ("state_bytes", "temporary_bytes", "code_bytes")
    return (
        f"`{name}`",
        told["topology"],
        f"{flops['model'] / 1e12:,.0f}",
        f"{flops['compiled'] / 1e12:,.0f}" if flops["compiled"] else "",
        " + ".join(f"{memory[part] / _GIB:.1f}" for part in parts),
        f"{memory['available_bytes'] / _GIB:.2f}",
        f"{told['spare']:.0%}" if told["fits"] else "does not fit",
        f"{roofline['seconds']:.2f} s, {roofline['bound']}" if roofline else "",
    )


def _plans(
    files: Mapping[str, pathlib.Path], folder: pathlib.Path, arguments: Any
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        settings, topology = digest(path, arguments), _slice_of(path, arguments)
        kept = folder / f"{name}.json"
        told = _kept(kept) or {}
        made_for = told.get("settings_digest"), told.get("topology")
        if made_for != (settings, topology):
            told = _planned(path, topology, arguments) | {"settings_digest": settings}
            text = json.dumps(told, indent=2).encode()
            write_whole(kept, functools.partial(_write, text))
        yield name, told


def digest(path: pathlib.Path, arguments: Any) -> str:
    """Of all settings of a run file, those of the files that it includes too."""
    found = _configuration([str(path)], *_given(arguments))
    text = repr((sorted(found.macros.items()), sorted(found.bindings.items())))
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(path: pathlib.Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _slice_of(path: pathlib.Path, arguments: Any) -> str:
    topology = arguments.topology or slice_named_by([str(path)], *_given(arguments))
    if topology is None:
        raise ConfigError(f"{path} names no {SLICE}: give --topology for all")
    return topology


def _planned(path: pathlib.Path, topology: str, arguments: Any) -> dict[str, Any]:
    """A plan by a process of its own: gin and the compiler begin anew."""
    bindings, search_paths, allowed = _given(arguments)
    say(f"{path} on {topology} …")
    command = [
        *(sys.executable, "-m", "dro_jax.cli.main", "plan", f"--gin_file={path}"),
        *(f"--gin.{'='.join(binding.split(' = ', 1))}" for binding in bindings),
        *(f"--allow_import={name}" for name in allowed),
        *([f"--gin_search_paths={search_paths}"] * bool(search_paths)),
        *("--topology", topology, "--json", "-"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # What does not fit is a plan too; a library may have printed behind it.
    try:
        return json.JSONDecoder().raw_decode(done.stdout.lstrip())[0]
    except json.JSONDecodeError:
        raise ConfigError(
            f"{path} cannot be planned (status {done.returncode}): {done.stderr.strip()}"
        ) from None


def _given(arguments: Any) -> tuple[Sequence[str], str, Sequence[str]]:
    return (
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
    )


def _configuration(files, bindings=(), search_paths="", allow_imports=()):
    read, typed = gin_setup.check(
        files,
        bindings,
        search_paths,
        allow_imports,
        tell=None,
        placeholders=PLACEHOLDERS,
    )
    return Configuration.of([*read.statements, *typed])


def _lacks_an_objective(path: pathlib.Path, search_paths: Sequence[str]) -> bool:
    statements = GinFiles([str(path)], search_paths).statements
    return "OBJECTIVE" in missing_names(Configuration.of(statements))


def _write(text: bytes, file: BinaryIO) -> None:
    file.write(text)
