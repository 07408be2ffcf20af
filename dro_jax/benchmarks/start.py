"""Seconds until commands do their work: training, answering one prompt, listing tasks."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from dro_jax.benchmarks.timing import Figure, Figures

# What the training loop says when its first step has been done.
_FIRST_STEP = "first step done"
_RUN = "dro_jax/gin_configs/runs/quickstart_reference.gin"
_STEPS = 2
# Of whoever calls this, which would let a first start find what it should make.
_CACHES = ("DRO_JAX_", "JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")


def measure(rounds: int) -> Figures:
    """Figures of the quickstart's first run, each start a process of its own.

    `first` is where nothing is prepared or compiled, the others where it is. Until
    training's first step, of the others until the end.
    """
    with tempfile.TemporaryDirectory(prefix="dro-jax-benchmark-") as name:
        folder = pathlib.Path(name)
        first = _train(folder, 0)
        starts = [_train(folder, number + 1) for number in range(rounds)]
        prompts = folder / "prompts.jsonl"
        prompts.write_text(json.dumps({"prompt": "where is my parcel?"}) + "\n")
        answers = [_generate(folder, prompts) for _ in range(rounds + 1)]
        lists = [_seconds(folder, ["tasks", "list"]) for _ in range(rounds)]
    return {
        "start.first.train_seconds": Figure.exact(first),
        "start.train_seconds": Figure.of(starts),
        "start.first.generate_seconds": Figure.exact(answers[0]),
        "start.generate_seconds": Figure.of(answers[1:]),
        "start.tasks_list_seconds": Figure.of(lists),
    }


def _train(folder: pathlib.Path, number: int) -> float:
    return _seconds(
        folder,
        [
            "train",
            f"--gin_file={_RUN}",
            f"--gin.MODEL_DIR={str(folder / f'run_{number}')!r}",
            f"--gin.TRAIN_STEPS={_STEPS}",
            "--gin.WARMUP_STEPS=1",
            "--gin.EVAL_DATASET=None",
        ],
        until=_FIRST_STEP,
    )


def _generate(folder: pathlib.Path, prompts: pathlib.Path) -> float:
    return _seconds(
        folder,
        [
            "generate",
            f"--model_dir={folder / 'run_0'}",
            f"--input={prompts}",
            f"--output={folder / 'answers.jsonl'}",
        ],
    )


def _seconds(
    folder: pathlib.Path, arguments: Sequence[str], until: str | None = None
) -> float:
    """Of a command, to its end or to the line of standard error that says `until`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_CACHES)
    }
    environment["XDG_CACHE_HOME"] = str(folder / "caches")
    begin, found, lines = time.perf_counter(), None, []
    process = subprocess.Popen(
        [sys.executable, "-m", "dro_jax.cli.main", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stderr:
            lines.append(line)
            if until is not None and found is None and until in line:
                found = time.perf_counter() - begin
    passed = time.perf_counter() - begin
    if process.returncode or (until is not None and found is None):
        sys.stderr.writelines(lines)
        raise subprocess.CalledProcessError(process.returncode, arguments[0])
    return passed if found is None else found
