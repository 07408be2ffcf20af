"""Arrays in temporary files."""

import os

import numpy as np
import pytest

from dro_jax.data import scratch
from dro_jax.errors import DataError


def test_arrays_are_zeros_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small, large = scratch.array(3, np.int64), scratch.array((1 << 17, 2), np.float64)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    for array in (small, large):
        assert not array.any()
        array[-1] = 5
        assert np.count_nonzero(array) == array[-1].size
    assert os.listdir(tmp_path) == []


def test_filled_by_chunks_is_filled_whole():
    asked = []

    def of_chunk(part):
        asked.append(part)
        return np.arange(part.start, part.stop)

    size = 2 * scratch.CHUNK + 3
    made = scratch.filled(size, np.int32, of_chunk)
    np.testing.assert_array_equal(made, np.arange(size))
    assert [part.stop - part.start for part in asked] == [scratch.CHUNK] * 2 + [3]


def test_rows_of_any_number():
    rows = scratch.Rows()
    parts = [np.full((n, 2), n, np.float32) for n in (3, 0, 70_000)]
    for part in parts:
        rows.append(part)
    with pytest.raises(ValueError, match="rows of float32"):
        rows.append(np.zeros((1, 3), np.float32))
    assert len(rows) == 70_003
    np.testing.assert_array_equal(rows.array(), np.concatenate(parts))
    empty = scratch.Rows()
    empty.append(np.zeros((0, 4), np.int32))
    assert empty.array().shape == (0, 4)


def test_a_full_disk_is_named(monkeypatch):
    with pytest.raises(DataError, match=r"no room for .* MiB .*set TMPDIR"):
        scratch.array(1 << 55, np.int8)
