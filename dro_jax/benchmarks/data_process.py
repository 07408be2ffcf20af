"""One start on a split of made-up records: `… FOLDER SECONDS`, figures as JSON."""

import json
import pathlib
import sys
import time

# Memory counts from what these take.
import jax  # noqa: F401

from dro_jax.benchmarks import made_records
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task

_TASK = "made_records"
_LENGTHS = {"inputs": 128, "targets": 64}
_ROWS = 32
_PROCESS = pathlib.Path("/proc/self")


def measure(folder: pathlib.Path, seconds: float) -> dict[str, float]:
    """Starts on the split that a folder holds, and reads batches.

    Args:
      folder: made by `made_records`.
      seconds: of reading.

    Returns:
      `seconds` to the first batch, `cpu_seconds` of this process's threads in that
      time, and `records_per_second` of the split;
      `trajectories_per_second` of reading batches packed and shuffled; `peak_mb`, the
      most resident memory until the first batch, and `reading_peak_mb`, until the end,
      beyond that of the imports, where the system is Linux.
    """
    files = sorted(folder.glob(f"{made_records.DATA}-*.jsonl"))
    register_feedback_task(
        _TASK,
        JsonlSource({made_records.DATA: files}),
        vocabulary=folder / made_records.VOCABULARY,
    )
    data = DatasetConfig(_TASK, _LENGTHS, batch_size=_ROWS, pack=True)
    memory = _Memory()
    begin, cpu_begin = time.perf_counter(), time.process_time()
    batches = data.batches()
    next(batches)
    start = time.perf_counter() - begin
    figures = {
        "seconds": start,
        "cpu_seconds": time.process_time() - cpu_begin,
        **memory.peak("peak_mb"),
    }
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        count += int((next(batches)["trajectory_weights"] > 0).sum())
    return figures | {
        "records_per_second": data.num_records() / start,
        "trajectories_per_second": count / passed,
        **memory.peak("reading_peak_mb"),
    }


class _Memory:
    """Resident memory from now on, beyond that of now."""

    def __init__(self):
        self._is_known = (_PROCESS / "clear_refs").exists()
        if self._is_known:
            self._before = _megabytes("VmRSS")
            # The imports had a peak of their own.
            (_PROCESS / "clear_refs").write_text("5")

    def peak(self, name: str) -> dict[str, float]:
        """The most so far, under a name."""
        return {name: _megabytes("VmHWM") - self._before} if self._is_known else {}


def _megabytes(field: str) -> float:
    lines = (_PROCESS / "status").read_text().splitlines()
    value = next(line for line in lines if line.startswith(f"{field}:"))
    return int(value.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(measure(pathlib.Path(sys.argv[1]), float(sys.argv[2]))))
