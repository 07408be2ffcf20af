"""Parts of a cache: which stretches of the data they cover, and shares of them."""

import os
import pathlib

import numpy as np
import pytest
from array_data import ArrayDataset

from dro_jax.errors import ConfigError
from dro_jax.training.before.reference_cache import Part, ReferenceCache, missing
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_share import Share


def parts(*stretches):
    return [Part(pathlib.Path(), start, end, 1) for start, end in stretches]


@pytest.mark.parametrize(
    ("there", "between", "wanted"),
    [
        ([], ((0, 0), None), [((0, 0), None)]),
        ([((0, 0), (8, 0)), ((8, 0), None)], ((0, 0), None), []),
        ([((0, 0), (8, 3))], ((0, 0), None), [((8, 3), None)]),
        ([((8, 0), None)], ((0, 0), None), [((0, 0), (8, 0))]),
        # The second's last batch reaches over the beginning of the third.
        (
            [((0, 0), (2, 0)), ((4, 0), (8, 5)), ((8, 0), (9, 0))],
            ((0, 0), None),
            [((2, 0), (4, 0)), ((9, 0), None)],
        ),
        # One that lies within another.
        ([((0, 0), (9, 0)), ((2, 0), (4, 0))], ((0, 0), None), [((9, 0), None)]),
        # Between two positions.
        ([((0, 0), (8, 0))], ((4, 0), (12, 0)), [((8, 0), (12, 0))]),
        ([((0, 0), (13, 0))], ((4, 0), (12, 0)), []),
        ([((16, 0), None)], ((4, 0), (12, 0)), [((4, 0), (12, 0))]),
        ([((6, 0), (7, 0))], ((4, 0), None), [((4, 0), (6, 0)), ((7, 0), None)]),
    ],
)
def test_what_no_part_covers(there, between, wanted):
    assert missing(parts(*there), *between) == wanted


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_shares_cover_a_split_once(count):
    data = ArrayDataset(num_records=48)  # six windows of 8
    found = [Share(number, count).stretch(data) for number in range(1, count + 1)]
    stretches = [stretch for stretch in found if stretch is not None]
    assert missing(parts(*stretches)) == []
    ends = [end for _, end in stretches]
    assert [start for start, _ in stretches] == [(0, 0), *ends[:-1]]
    assert ends[-1] is None
    assert len(stretches) == min(count, 6)


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "1/0", "a/b", "-1/2"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ConfigError, match="share"):
        Share.parse(text)
    assert str(Share.parse(" 3/8")) == "3/8"


def test_no_part_is_put_in_anothers_place(tmp_path):
    cache = ReferenceCache(tmp_path, {})
    nothing = np.zeros(0, np.int32)

    def write(ids, end, *, last):
        numbers = np.array(ids, np.float32)
        part = ReferenceLogprobs(np.array(ids), numbers, nothing, numbers[:0])
        cache.write((0, 0), part, end, last=last)

    write([0, 1], (2, 0), last=True)
    write([0], (1, 0), last=False)  # by another run, which kept it sooner
    assert len(cache.table()) == 2


def test_a_table_is_made_once_and_outlives_its_parts(tmp_path):
    cache = ReferenceCache(tmp_path, {})
    left = tmp_path / "table.0123.partial"  # by a run that was killed
    left.mkdir()
    os.utime(left, (0, 0))
    nothing = np.zeros(0, np.int32)

    def write(start, ids, end, *, last=False):
        numbers = np.array(ids, np.float32)
        part = ReferenceLogprobs(
            np.array(ids), numbers, nothing, nothing.astype(np.float32)
        )
        cache.write(start, part, end, last=last)

    write((4, 0), [4, 5], (8, 0), last=True)
    assert cache.table() is None
    write((0, 0), [0, 1], (2, 0))
    assert cache.table() is None
    assert cache.state((0, 0), None) == {"count": 4, "stretches": [((2, 0), (4, 0))]}
    write((2, 0), [3, 2, 4], (5, 0))
    table = cache.table()
    np.testing.assert_array_equal(table.logprobs_of(np.arange(6))[0], np.arange(6))
    made = (tmp_path / "table" / "logprobs.npy").stat().st_ino
    for path in tmp_path.glob("part-*2-*.npz"):
        path.unlink()
    assert len(cache.table()) == 6
    assert (tmp_path / "table" / "logprobs.npy").stat().st_ino == made
    # A part that it was not made of: it is made anew, of those that are there.
    write((2, 0), [2, 3], (4, 0))
    assert len(cache.table()) == 6
    assert (tmp_path / "table" / "logprobs.npy").stat().st_ino != made
    names = {
        path.name for path in tmp_path.iterdir() if not path.name.startswith("part")
    }
    assert names == {"key.json", "table"}
