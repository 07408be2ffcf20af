"""`VOCAB_SIZE` where no gin file and no flag sets it."""

import pathlib
from typing import Any

import gin

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.errors import ConfigError
from dro_jax.interop import formats
from dro_jax.messages import note
from dro_jax.models.t5_config import rows_for
from dro_jax.training import hosts, run_files

MACRO = "VOCAB_SIZE"


def settle(folder: pathlib.Path | None) -> None:
    """Binds `VOCAB_SIZE` where it is None, so that config.gin records what is used.

    It is what the run that the folder holds has; else the rows of the checkpoint that
    the run starts from; else, for a run that starts from nothing, what the task's
    vocabulary needs.

    Args:
      folder: `MODEL_DIR`; None where what it holds is to be deleted.

    Raises:
      UserError: the checkpoint or the task cannot be used.
    """
    if gin_setup.macro(MACRO, default=0) is not None:
        return
    # Files are looked at by one process for all, which else might see different ones.
    rows, reason = hosts.first_says(lambda: _rows(folder))
    if reason:
        note(f"{MACRO} = {rows} ({reason})")
    gin.parse_config(f"{MACRO} = {rows}")


def _rows(folder: pathlib.Path | None) -> tuple[int, str]:
    """The rows, and why so many where the run is new."""
    if (rows := _of_run(folder)) is not None:
        return rows, ""
    start = gin_setup.macro("INITIAL_CHECKPOINT_PATH", default=None)
    if start is not None:
        return formats.open_model(start).config.vocab_size, f"that of {start}"
    vocabulary = _dataset().vocabulary
    pieces = f"the task's vocabulary has {vocabulary.vocab_size:,} pieces"
    return rows_for(vocabulary), pieces


def _of_run(folder: pathlib.Path | None) -> int | None:
    """What the run of a folder has; None where there is none that can be read."""
    path = folder and folder / run_files.CONFIG
    if path is None or not path.is_file():
        return None
    try:
        configuration = Configuration.parse(path.read_text("utf-8"), str(path))
    except (ConfigError, OSError, UnicodeDecodeError):
        return None  # told of where the folder is prepared
    rows = configuration.macros.get(MACRO)
    return rows if isinstance(rows, int) else None


def _dataset() -> Any:
    name = "dro_jax.training.train.train.train_dataset_cfg"
    try:
        value = gin.query_parameter(name)
    except ValueError:
        raise ConfigError(
            f"{MACRO} is not set, and there is no data set to take it from: add a run "
            "file, for example --gin_file=gin_configs/runs/train.gin"
        ) from None
    return value.scoped_configurable_fn()
