"""`dro-jax sweep` on many hosts: each runs a worker of the same trials."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import GinFiles
from dro_jax.cli.launched_paths import paths_of, sorted_paths
from dro_jax.errors import ConfigError
from dro_jax.paths import is_url
from dro_jax.sweeps.axes import Axis, Files, Zip
from dro_jax.sweeps.sweep import Sweep

_SQLITE = "sqlite"


def fields(arguments: Any, flags: Sequence[str]) -> Mapping[str, Any]:
    """The fields of a `Job` whose processes are workers of a sweep.

    Args:
      arguments: the command line, parsed and planned by `early_checks`.
      flags: as typed.

    Raises:
      ConfigError: the command would refuse this, or hosts cannot share it.
    """
    if arguments.workers > 1:
        raise ConfigError(
            "--workers is of one machine: leave it out, and the target starts a worker "
            "on each host"
        )
    _check_storage(arguments.storage)
    if arguments.storage and not any(f.split("=")[0] == "--storage" for f in flags):
        # This machine's variable, which the hosts need not have.
        flags = [*flags, f"--storage={arguments.storage}"]
    if is_url(arguments.output_dir):
        raise ConfigError(
            f"--output_dir={arguments.output_dir}: dro-jax writes to folders. Name the "
            "folder where the hosts mount the bucket (docs/launch.md)"
        )
    sweep = arguments.plan.sweep
    folders = [path for path in arguments.gin_search_paths.split(",") if path]
    described = GinFiles(arguments.gin_file, folders)
    read = [GinFiles([name], folders) for name in _files(sweep)]
    found = [Configuration.of(file.statements) for file in read]
    found.append(Configuration.of(described.statements))
    paths = [path for one in found for path in paths_of(one)]
    return {
        "command": ("dro-jax", "sweep", *flags),
        "gin_files": {k: v for file in (described, *read) for k, v in file.own.items()},
        "resumes": True,
        "together": False,
        "locks_files": (arguments.storage or _SQLITE).startswith(_SQLITE),
        **sorted_paths(arguments.output_dir, [*paths, *folders]),
    }


def _check_storage(url: str | None) -> None:
    """Refuses a password, which scripts and manifests would hold."""
    if url is None:
        return
    # As SQLAlchemy reads it, which need not be there: up to the @, with any / # ? in it.
    if re.match(r"[\w+]+://[^:/]*:[^@]+@", url) or "password=" in url:
        raise ConfigError(
            "--storage holds a password, and what is launched is written to files: leave "
            "it out there, and give the hosts ~/.pgpass or the variable PGPASSWORD"
        )


def _files(sweep: Sweep) -> list[str]:
    """The gin files that a sweep's description names, each once."""
    found = [
        name
        for stage in sweep.stages
        for name in (*stage.gin_files, *_words(stage.axes))
        if name.endswith(".gin") and not name.startswith("$")
    ]
    if sweep.evaluation is not None:
        found += sweep.evaluation.gin_files
    return list(dict.fromkeys(found))


def _words(axes: Sequence[Axis]) -> Iterator[str]:
    for axis in axes:
        if isinstance(axis, Zip):
            yield from _words(axis.axes)
        elif isinstance(axis, Files):
            for words in axis.values.values():
                yield from (words,) if isinstance(words, str) else words
