"""`dro-jax train`."""

import pathlib

import gin

from dro_jax.cli import gin_setup
from dro_jax.errors import ConfigError
from dro_jax.training.train import train


def run(arguments) -> None:
    """Train what the gin files describe."""
    if not arguments.gin_file:
        raise ConfigError(
            "no --gin_file is given: a run needs a run file, for example "
            "gin_configs/runs/quickstart_reference.gin"
        )
    train_from_gin(
        arguments.gin_file, arguments.gin_bindings, arguments.gin_search_paths
    )


def train_from_gin(files: list[str], bindings: list[str], search_paths: str = ""):
    """Parse, keep the configuration as `MODEL_DIR/config.gin`, and train."""
    gin_setup.parse(files, bindings, search_paths)
    model_dir = pathlib.Path(gin_setup.macro("MODEL_DIR"))
    model_dir.mkdir(parents=True, exist_ok=True)
    (model_dir / "config.gin").write_text(gin.config_str(), "utf-8")
    return gin_setup.call(train)
