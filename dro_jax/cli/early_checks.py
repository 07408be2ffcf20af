"""What a command line gets wrong that can be known before TensorFlow is imported.

The import takes ten seconds and more; files and names are checked in less than one.
"""

import glob
import os
from typing import Any

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.paths import check_folder, expanded, is_url

_BYTE = "byte"  # the vocabulary that is no file


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
        if not is_url(path) and not os.path.exists(expanded(path)):
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
    configuration = Configuration.of([*read.statements, *typed])

    def local(name: str) -> str | None:
        path = configuration.filled_in(configuration.macros.get(name))
        return None if not isinstance(path, str) or is_url(path) else path

    for name in ("MODEL_DIR", "REFERENCE_CACHE_DIR"):
        if (path := local(name)) and not arguments.dry_run:
            check_folder(expanded(path), name)
    start = local("INITIAL_CHECKPOINT_PATH")
    # A name without any folder may be one on Hugging Face's hub.
    is_path = start is not None and start.startswith(("/", ".", "~", "$"))
    if is_path and not os.path.exists(expanded(start)):
        raise CheckpointError(
            f"INITIAL_CHECKPOINT_PATH: no checkpoint at {start}: there is no such folder"
        )
    for name in ("TRAIN_PATH", "VALIDATION_PATH", "VOCABULARY"):
        path = local(name)
        if path and path != _BYTE and not _found(expanded(path)):
            raise ConfigError(f"{name} = {path!r}: there is no such file or folder")


def _found(path: str) -> bool:
    return os.path.exists(path) or bool(glob.glob(path, recursive=True))
