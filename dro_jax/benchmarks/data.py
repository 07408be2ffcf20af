"""Time and memory of a split's first pass, of later starts, and of reading batches."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from dro_jax.benchmarks import made_records
from dro_jax.benchmarks.timing import Figure, Figures

# Each in a process of its own, so that what one has taken is not counted for another.
_PROCESS = "dro_jax.benchmarks.data_process"
RECORDS = (20_000,)
# Of reading batches.
SECONDS = 10.0


def measure(
    rounds: int, records: Sequence[int] = RECORDS, data_dir: str | None = None
) -> Figures:
    """Figures of made-up splits.

    Args:
      rounds: how often each is measured.
      records: sizes of the splits.
      data_dir: keeps the records, which are not made again where they are; None, a
        temporary folder.
    """
    figures: Figures = {}
    for count in records:
        with _folder(data_dir, count) as folder:
            _make(folder, count)
            for name, values in _measured(folder, rounds).items():
                figures[f"data.{count}.{name}"] = Figure.of(values)
            figures[f"data.{count}.megabytes"] = Figure.exact(
                sum(path.stat().st_size for path in folder.glob("*.jsonl")) / 1e6
            )
    return figures


def _measured(folder: pathlib.Path, rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as prepared:
            for start in ("first", "second"):
                found = _run(folder, prepared)
                for name, value in found.items():
                    figures.setdefault(f"{start}_start.{name}", []).append(value)
    return figures


def _run(folder: pathlib.Path, prepared: str) -> dict[str, float]:
    environment = os.environ | {
        "DRO_JAX_PREPARED_DIR": prepared,
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, "-m", _PROCESS, os.fspath(folder), str(SECONDS)],
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:  # else it holds TensorFlow's start-up notes alone
        sys.stderr.write(done.stderr.decode("utf-8", "replace"))
        done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def _folder(data_dir: str | None, count: int) -> Iterator[pathlib.Path]:
    if data_dir is not None:
        yield pathlib.Path(data_dir) / str(count)
        return
    with tempfile.TemporaryDirectory(prefix="dro-jax-benchmark-") as folder:
        yield pathlib.Path(folder)


def _make(folder: pathlib.Path, count: int) -> None:
    # Written last.
    if not (folder / made_records.VOCABULARY).exists():
        made_records.write_records(folder, count)
        made_records.write_vocabulary(folder)
