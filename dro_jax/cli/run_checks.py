"""Settings of a run that its files alone tell to be wrong."""

import glob
import os
from collections.abc import Sequence
from typing import Any

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.paths import expanded, is_url, is_within

_BYTE = "byte"  # the vocabulary that is no file


def check_run(configuration: Any, elsewhere: Sequence[str] = ()) -> None:
    """Refuses settings of a run that its files alone tell to be wrong.

    Args:
      configuration: of the run.
      elsewhere: folders of the hosts where it will run; what lies in them is not looked
        for here.

    Raises:
      ConfigError, CheckpointError: there is one.
    """
    seed = configuration.filled_in(configuration.macros.get("RANDOM_SEED"))
    # JAX would take the lowest 32 bits: two seeds would be one, in silence.
    if isinstance(seed, int) and not -(2**31) <= seed < 2**32:
        raise ConfigError(
            f"RANDOM_SEED = {seed}: give a number of 32 bits, from 0 to {2**32 - 1:,}"
        )
    check_are_there(configuration, elsewhere)


def check_are_there(configuration: Any, elsewhere: Sequence[str] = ()) -> None:
    """Refuses settings that name checkpoints and files which do not exist.

    Args:
      configuration: of a run of ours or of T5X.
      elsewhere: as for :func:`check_run`.

    Raises:
      ConfigError, CheckpointError: there is one.
    """
    for name in ("INITIAL_CHECKPOINT_PATH", "CHECKPOINT_PATH"):
        start = local_path(name, configuration, elsewhere)
        if start == "":
            raise ConfigError(f"{name} is empty: name a checkpoint, or None")
        # A name without any folder may be one on Hugging Face's hub.
        is_path = start is not None and start.startswith(("/", ".", "~", "$"))
        if is_path and not os.path.exists(expanded(start)):
            raise CheckpointError(
                f"{name}: no checkpoint at {start}: there is no such folder"
            )
    for name in ("TRAIN_PATH", "VALIDATION_PATH", "VOCABULARY"):
        path = local_path(name, configuration, elsewhere)
        if path and path != _BYTE and not _found(expanded(path)):
            raise ConfigError(f"{name} = {path!r}: there is no such file or folder")


def local_path(name: str, configuration: Any, elsewhere: Sequence[str]) -> str | None:
    """The path that a setting is; None where it is none, or not of this machine."""
    path = configuration.filled_in(configuration.macros.get(name))
    if not isinstance(path, str) or is_url(path) or is_within(path, elsewhere):
        return None
    return path


def _found(path: str) -> bool:
    return os.path.exists(path) or bool(glob.glob(path, recursive=True))
