"""What a command line gets wrong that can be known before TensorFlow is imported.

The import takes ten seconds and more; files and names are checked in less than one.
"""

import os
import pathlib
import re
import tempfile
from typing import Any

from dro_jax.errors import CheckpointError, ConfigError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")


def check(arguments: Any) -> None:
    """Refuses what the command would refuse later, or find missing.

    Args:
      arguments: the parsed command line.

    Raises:
      ConfigError, CheckpointError: as the command itself.
    """
    if arguments.command == "train":
        _check_train(arguments)
    elif arguments.command == "tasks":
        from dro_jax.data.modules import look_in_current_folder

        look_in_current_folder(arguments.module, "--module")
    elif arguments.command in ("generate", "score"):
        path = arguments.model_dir
        if not _URL.match(path) and not _expanded(path).exists():
            raise ConfigError(f"--model_dir {path}: there is no such folder")


def _check_train(arguments: Any) -> None:
    if not arguments.gin_file:
        raise ConfigError(
            "no --gin_file is given: a run needs a run file, for example "
            "gin_configs/runs/quickstart_reference.gin"
        )
    # gin itself is light, and so is what reads its files; --help needs neither.
    from dro_jax.cli import gin_setup
    from dro_jax.cli.configuration_diff import Configuration

    read, typed = gin_setup.check(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
        tell=None,
    )
    macros = Configuration.of([*read.statements, *typed])
    for name in ("MODEL_DIR", "REFERENCE_CACHE_DIR"):
        path = macros.filled_in(macros.macros.get(name))
        if isinstance(path, str) and not _URL.match(path) and not arguments.dry_run:
            _check_can_be_made(name, _expanded(path))
    start = macros.filled_in(macros.macros.get("INITIAL_CHECKPOINT_PATH"))
    # A name without any folder may be one on Hugging Face's hub.
    is_path = isinstance(start, str) and start.startswith(("/", ".", "~"))
    if is_path and not _expanded(start).exists():
        raise CheckpointError(
            f"INITIAL_CHECKPOINT_PATH: no checkpoint at {start}: there is no such folder"
        )


def _check_can_be_made(setting: str, folder: pathlib.Path) -> None:
    """Refuses a folder that is none, or that could not be written to."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ConfigError(f"{setting} {folder}: {there} is a file: name a folder")
    try:
        # Permissions do not tell of read-only file systems, or of /proc.
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise ConfigError(
            f"{setting} {folder}: {there} cannot be written to ({error.strerror}): "
            "name another folder"
        ) from error


def _expanded(path: str) -> pathlib.Path:
    return pathlib.Path(os.path.expandvars(path)).expanduser()
