"""Where metrics go: JSON lines always, TensorBoard beside them; and sampled texts."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from dro_jax.paths import expanded, make_folder
from dro_jax.training.atomic_files import write_json, write_whole
from dro_jax.training.run_files import METRICS, PRUNED, SAMPLES, TENSORBOARD


class MetricWriter:
    """Appends one JSON object a step to `metrics.jsonl`, and TensorBoard scalars.

    A run that resumes at step k drops the lines after step k first, so the file reads
    as that of an uninterrupted run. Of several hosts only the first writes.
    """

    def __init__(
        self, model_dir: str | pathlib.Path, *, start_step: int, tensorboard: bool
    ):
        self._file = self._board = None
        self._folder = folder = pathlib.Path(model_dir)
        if jax.process_index() != 0:
            return
        make_folder(folder, "MODEL_DIR")
        path = folder / METRICS
        # Lines after the checkpoint are of steps that are done again.
        _drop_after(path, start_step)
        _drop_after(folder / SAMPLES, start_step)
        # A run that goes on is none that was ended early.
        (folder / PRUNED).unlink(missing_ok=True)
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            import tensorboardX  # slow to import, and only needed here

            self._board = tensorboardX.SummaryWriter(
                str(folder / TENSORBOARD), purge_step=start_step + 1
            )

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Write one step's metrics; what is not finite is null in JSON, and not drawn.

        A correlation of rewards that are all equal, as of a leftover of thumbs up, is such.
        """
        if self._file is None:
            return
        record = {"step": step} | {
            name: value if math.isfinite(value) else None
            for name, value in metrics.items()
        }
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()  # a kill must not cost lines of steps that were saved
        if self._board is not None:
            for name, value in metrics.items():
                if math.isfinite(value):  # tensorboardX would warn of each
                    self._board.add_scalar(name, value, step)

    def write_texts(self, step: int, texts: Sequence[Mapping[str, Any]]) -> None:
        """Append a few sampled responses of one step to `samples.jsonl`."""
        if self._file is None or not texts:
            return
        with (self._folder / SAMPLES).open("a", encoding="utf-8") as file:
            for text in texts:
                file.write(json.dumps({"step": step, **text}) + "\n")

    def write_facts(self, name: str, facts: dict) -> None:
        """Write a JSON file of that name beside the metrics."""
        if self._file is None:
            return
        write_json(self._folder / name, facts)

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(model_dir: str | pathlib.Path) -> list[dict]:
    """The records of a model folder's `metrics.jsonl`, in order."""
    path = pathlib.Path(expanded(model_dir)) / METRICS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def finished_step(model_dir: str | pathlib.Path) -> int | None:
    """The step at which a run ended that has its last line and checkpoint, or None."""
    folder = pathlib.Path(model_dir)
    try:
        last = read_metrics(folder)[-1]["step"]
    except (OSError, IndexError, KeyError, json.JSONDecodeError):
        return None
    return last if (folder / f"checkpoint_{last}").is_dir() else None


def _drop_after(path: pathlib.Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # a line cut short by a kill: it and what follows are rewritten
        if record["step"] <= step:
            kept.append(line + "\n")
    write_whole(path, lambda file: file.write("".join(kept).encode()))
