"""What a run's checkpoints need to go on: rounds of samples, and moved references."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from dro_jax.errors import CheckpointError
from dro_jax.training.run_files import is_checkpoint
from dro_jax.training.run_progress import RunProgress, read_progress


def needed(
    model_dir: pathlib.Path, lag: int, saving: RunProgress | None
) -> tuple[set[int], set[int]]:
    """Numbers of rounds, and steps of references, that its checkpoints name.

    Args:
      model_dir: the run's folder.
      lag: as in `FreshSamples`.
      saving: what the checkpoint says that may still be on its way to the disk.
    """
    rounds: set[int] = set()
    references: set[int] = set()
    for at in [*_saved(model_dir), saving and saving.samples]:
        if at:
            rounds |= set(range(at["round"], at["round"] + lag + 1))
            references |= {at["moved"]["step"]} if at["moved"] else set()
    return rounds, references


def _saved(model_dir: pathlib.Path) -> Iterator[dict[str, Any] | None]:
    """What each checkpoint says of samples."""
    for path in model_dir.iterdir():
        if is_checkpoint(path.name):
            with contextlib.suppress(CheckpointError):  # it is being deleted
                yield read_progress(path).get("samples")
