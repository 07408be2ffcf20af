"""`dro-jax train`."""

import pathlib
from collections.abc import Sequence

import gin

from dro_jax.cli import gin_setup, model_folder, vocabulary_size
from dro_jax.errors import ConfigError
from dro_jax.training.settings import check_model_dir
from dro_jax.training.train import train


def run(arguments) -> None:
    """Train what the gin files describe."""
    if not arguments.gin_file:
        raise ConfigError(
            "no --gin_file is given: a run needs a run file, for example "
            "gin_configs/runs/quickstart_reference.gin"
        )
    train_from_gin(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        allow_imports=arguments.allow_import,
        overwrite=arguments.overwrite,
    )


def train_from_gin(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
    overwrite: bool = False,
):
    """Parse, keep the configuration as `MODEL_DIR/config.gin`, and train.

    Args:
      files: as those of `gin_setup.parse`, like the next two and `allow_imports`.
      bindings: `NAME = VALUE`.
      search_paths: folders, comma-separated.
      allow_imports: modules that the files may use beside the usual ones.
      overwrite: delete the run that `MODEL_DIR` holds, if any.

    Raises:
      ConfigError: as `gin_setup.parse`, or `MODEL_DIR` holds a run that another
        configuration made.
    """
    gin_setup.parse(files, bindings, search_paths, allow_imports)
    check_model_dir(gin_setup.macro("MODEL_DIR"))
    folder = pathlib.Path(gin_setup.macro("MODEL_DIR"))
    vocabulary_size.settle(None if overwrite else folder)
    model_folder.prepare(folder, gin.config_str(), overwrite=overwrite)
    return gin_setup.call(train)
