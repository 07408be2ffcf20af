"""Memory does not grow with the split, nor does a later start read it."""

import json
import pathlib

import numpy as np
import pytest

from dro_jax.data.sources import JsonlSource

MIB = 1 << 20
STATUS = pathlib.Path("/proc/self/status")
PEAK = pathlib.Path("/proc/self/clear_refs")


def _resident(name):
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def _growth(work):
    """How far the most resident memory during some work lies above that before."""
    before = _resident("VmRSS")
    PEAK.write_text("5")
    work()
    return _resident("VmHWM") - before


@pytest.mark.slow
@pytest.mark.skipif(not PEAK.exists(), reason="Linux tells the peak of a while")
def test_resident_memory_is_bounded(tmp_path, register_source):
    path, count, length = tmp_path / "logs.jsonl", 80_000, 2000
    row = json.dumps({"prompt": "p" * length, "response": "r" * 20, "reward": 1})
    with path.open("w") as file:
        file.writelines(row + "\n" for _ in range(count))
    small = tmp_path / "small.jsonl"
    small.write_text(row + "\n")
    register_source(JsonlSource({"train": small})).records("train")

    def prepare():
        task = register_source(JsonlSource({"train": path}))
        assert len(task.records("train")) == count

    # In memory these records are 4 bytes a letter. How much of what is freed stays with
    # the process depends on what ran in it before: 85 to 125 MiB were seen.
    size = path.stat().st_size
    assert size > 150 * MIB
    assert _growth(prepare) < size

    def start():
        records = register_source(JsonlSource({"train": path})).records("train")
        drawn = np.arange(0, count, 100)
        assert len(records.tokens(drawn, "inputs")) == len(drawn) * length

    assert _growth(start) < 60 * MIB
