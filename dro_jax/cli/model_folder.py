"""`MODEL_DIR` before a run: whether it may go on there, or what `--overwrite` deletes."""

import pathlib
import shutil
from typing import Any

from dro_jax.cli.configuration_diff import Configuration, Difference, differences
from dro_jax.errors import ConfigError
from dro_jax.training.run_files import (
    CONFIG,
    METRICS,
    OWNER,
    is_checkpoint,
    is_made_by_a_run,
)
from dro_jax.training.whole_files import write_whole

_INITIAL_CHECKPOINT = "dro_jax.training.train.train.initial_checkpoint_path"
_MOST_SHOWN = 20


def prepare(folder: pathlib.Path, configuration: str, *, overwrite: bool) -> None:
    """Make a folder ready for a run, and keep the run's configuration in it.

    The caller owns the folder: see `dro_jax.training.run_owner`.

    Args:
      folder: made if it does not exist.
      configuration: what `gin.config_str` gives.
      overwrite: delete the run that the folder holds, if any, and nothing else.

    Raises:
      ConfigError: the folder holds a run that another configuration made, or a run that
        `overwrite` would delete together with the checkpoint to start from.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"MODEL_DIR {folder} is a file: name a folder")
    new = Configuration.parse(configuration, "the configuration")
    if overwrite:
        _check_start_is_kept(folder, new)
        _delete_run(folder)
    elif _has_run(folder):
        _check_same_run(folder, new)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG, lambda file: file.write(configuration.encode()))


def _has_run(folder: pathlib.Path) -> bool:
    metrics = folder / METRICS
    if metrics.is_file() and metrics.stat().st_size:
        return True
    return any(is_checkpoint(path.name) for path in _children(folder))


def _check_same_run(folder: pathlib.Path, new: Configuration) -> None:
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(
            f"MODEL_DIR {folder} holds a run but no {CONFIG}, so it cannot be "
            f"known whether this configuration made it. {_advice('put its file back')}"
        )
    try:
        old = Configuration.parse(path.read_text("utf-8"), str(path))
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"MODEL_DIR {folder} holds a run, and its {CONFIG} cannot be read "
            f"({error}), so it cannot be known whether this configuration made it. "
            + _advice("put its file back")
        ) from error
    changed = differences(old, new)
    if changed:
        raise ConfigError(
            f"MODEL_DIR {folder} holds a run that another configuration made. Its value "
            f"→ the value now:\n{_listed(changed)}\n{_advice('undo these changes')}"
        )


def _advice(first: str) -> str:
    return (
        f"To go on with that run, {first}; else take another MODEL_DIR, or delete that "
        "run and start anew by `dro-jax train --overwrite`"
    )


def _listed(changed: list[Difference]) -> str:
    lines = [f"  {difference}" for difference in changed[:_MOST_SHOWN]]
    if len(changed) > _MOST_SHOWN:
        lines.append(f"  and {len(changed) - _MOST_SHOWN} more")
    return "\n".join(lines)


def _check_start_is_kept(folder: pathlib.Path, new: Configuration) -> None:
    start: Any = new.value(_INITIAL_CHECKPOINT)
    if not isinstance(start, str):
        return
    path, inside = pathlib.Path(start).resolve(), folder.resolve()
    if path == inside or inside in path.parents:
        raise ConfigError(
            f"INITIAL_CHECKPOINT_PATH {start} lies in MODEL_DIR {folder}, whose "
            "checkpoints --overwrite deletes: take another MODEL_DIR"
        )


def _delete_run(folder: pathlib.Path) -> None:
    deleted = []
    for path in _children(folder):
        # The owner is this process, and the settings go last, so that what a kill leaves
        # is still known for what it is.
        if path.name in (OWNER, CONFIG):
            continue
        if not is_made_by_a_run(path.name, folder=path.is_dir()):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        deleted.append(path.name)
    config = folder / CONFIG
    if config.is_file():
        config.unlink()
        deleted.append(CONFIG)
    if deleted:
        print(f"--overwrite deleted from {folder}: {', '.join(deleted)}", flush=True)


def _children(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
