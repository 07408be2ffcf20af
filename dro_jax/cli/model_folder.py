"""`MODEL_DIR` before a run: whether it may go on there, or what `--overwrite` deletes."""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from dro_jax.cli.configuration_diff import Configuration, Difference, differences
from dro_jax.errors import ConfigError
from dro_jax.messages import say
from dro_jax.paths import expanded, make_folder
from dro_jax.training.atomic_files import write_whole
from dro_jax.training.run_files import (
    CONFIG,
    METRICS,
    OWNER,
    config_until,
    is_checkpoint,
    is_made_by_a_run,
)

_INITIAL_CHECKPOINT = "dro_jax.training.train.train.initial_checkpoint_path"
_MOST_SHOWN = 20


def prepare(
    folder: pathlib.Path,
    configuration: str,
    *,
    overwrite: bool,
    allow_change: Sequence[str] = (),
) -> None:
    """Make a folder ready for a run, and keep the run's configuration in it.

    The caller owns the folder: see `dro_jax.training.run_owner`. A configuration that is
    changed on purpose is kept too, as `config_until_step_N.gin`, N the step of the newest
    checkpoint.

    Args:
      folder: made if it does not exist.
      configuration: what `gin.config_str` gives.
      overwrite: delete the run that the folder holds, if any, and nothing else.
      allow_change: names of settings that the run may change, as refusals give them.

    Raises:
      ConfigError: the folder holds a run that another configuration made, or a run that
        `overwrite` would delete together with the checkpoint to start from.
    """
    changed = check(folder, configuration, overwrite, allow_change)
    if overwrite:
        _delete_run(folder)
    make_folder(folder, "MODEL_DIR")
    if changed:
        _keep_configuration(folder, changed)
    _write(folder / CONFIG, configuration)


def check(
    folder: pathlib.Path,
    configuration: str,
    overwrite: bool = False,
    allow_change: Sequence[str] = (),
) -> list[Difference]:
    """What `prepare` refuses; nothing is written.

    Returns:
      What changes in the run that the folder holds.

    Raises:
      ConfigError: as `prepare`.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"MODEL_DIR {folder} is a file: name a folder")
    new = Configuration.parse(configuration, "the configuration")
    if overwrite:
        _check_start_is_kept(folder, new)
        return []
    if not _has_run(folder):
        return []
    changed = _changed(folder, new)
    _refuse_changes(folder, changed, allow_change)
    return changed


def _has_run(folder: pathlib.Path) -> bool:
    metrics = folder / METRICS
    if metrics.is_file() and metrics.stat().st_size:
        return True
    return any(is_checkpoint(path.name) for path in _children(folder))


def _changed(folder: pathlib.Path, new: Configuration) -> list[Difference]:
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
    return differences(old, new)


def _refuse_changes(
    folder: pathlib.Path, changed: list[Difference], allowed: Sequence[str]
) -> None:
    for difference in changed:
        if difference.name in allowed and not difference.changeable:
            raise ConfigError(
                f"--allow_change={difference.name}: a run cannot go on with another "
                f"{difference.name} ({difference}). Only its learning rates and schedule, "
                "its periods, TRAIN_STEPS, NUM_MICROBATCHES, ON_NON_FINITE and what its "
                "evaluations sample can be changed on the way. Take another MODEL_DIR, "
                "which may start from this run (INITIAL_CHECKPOINT_PATH)"
            )
    refused = [difference for difference in changed if difference.name not in allowed]
    if not refused:
        return
    message = (
        f"MODEL_DIR {folder} holds a run that another configuration made. Its value → "
        f"the value now:\n{_listed(refused)}\n{_advice('undo these changes')}"
    )
    if all(difference.changeable for difference in refused):
        names = ",".join(dict.fromkeys(difference.name for difference in refused))
        message += f". To go on with the new values, add --allow_change={names}"
    raise ConfigError(message)


def _keep_configuration(folder: pathlib.Path, changed: list[Difference]) -> None:
    names = [path.name for path in _children(folder)]
    steps = [int(name.rpartition("_")[2]) for name in filter(is_checkpoint, names)]
    step = max(steps, default=0)
    kept = folder / config_until(step)
    # A second change before the next checkpoint: the first configuration made the steps.
    if not kept.exists():
        _write(kept, (folder / CONFIG).read_text("utf-8"))
    say(f"changed from step {step:,} on:\n{_listed(changed)}")


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
    path, inside = pathlib.Path(expanded(start)).resolve(), folder.resolve()
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


def _write(path: pathlib.Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))
