"""The reference's log-probabilities in the order of records, mapped."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dro_jax.errors import CheckpointError, DataError
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_table import ReferenceTable, write_table

SIZE = 50
RNG = np.random.default_rng(0)
IDS = (3 << 32) + np.sort(RNG.permutation(80)[:SIZE])  # some records were dropped
LENGTHS = RNG.integers(1, 6, SIZE).astype(np.int32)
TOKENS = np.split(
    -RNG.random(LENGTHS.sum()).astype(np.float32), np.cumsum(LENGTHS)[:-1]
)
SUMS = np.array([tokens.sum() for tokens in TOKENS], np.float32)


def part(records, *, tokens=True):
    nothing = np.zeros(0, np.int32)
    return ReferenceLogprobs(
        IDS[records],
        SUMS[records],
        LENGTHS[records] if tokens else nothing,
        np.concatenate([TOKENS[i] for i in records])
        if tokens
        else nothing.astype(np.float32),
    )


def batch_of(records):
    """A record a row, each as long as it was."""
    ids = np.stack([IDS[records] >> 32, IDS[records] & 0xFFFFFFFF], -1)
    places = np.arange(LENGTHS.max())
    return {
        "record_ids": ids[:, None].astype(np.int32),
        "trajectory_weights": np.ones((len(records), 1), np.float32),
        "decoder_loss_weights": (places < LENGTHS[records][:, None]).astype(np.int32),
    }


@pytest.fixture
def table(tmp_path):
    """Of parts in an order like that of packed rows, the third over the second's end."""
    order = RNG.permutation(SIZE)
    parts = [part(order[:20]), part(order[20:40]), part(order[36:])]
    write_table(tmp_path, lambda: iter(parts))
    return ReferenceTable(tmp_path)


def test_every_record_has_its_numbers(table):
    assert len(table) == SIZE
    records = RNG.permutation(SIZE)
    found = table.attach(batch_of(records))
    np.testing.assert_array_equal(found["reference_logprobs"][:, 0], SUMS[records])
    for row, record in enumerate(records):
        tokens = found["reference_token_logprobs"][row]
        np.testing.assert_array_equal(tokens[: LENGTHS[record]], TOKENS[record])
        assert not tokens[LENGTHS[record] :].any()
    values, known = table.logprobs_of(np.r_[IDS[5], 7])
    assert values[0] == SUMS[5]
    assert known.tolist() == [True, False]


def test_sums_alone_need_no_tokens():
    table = ReferenceTable.of(part(np.arange(SIZE), tokens=False))
    found = table.attach(batch_of(np.array([3, 1])))
    np.testing.assert_array_equal(found["reference_logprobs"][:, 0], SUMS[[3, 1]])
    assert "reference_token_logprobs" not in found


def test_another_length_is_refused(table):
    batch = batch_of(np.array([3, 1]))
    batch["decoder_loss_weights"][1] = 0
    with pytest.raises(DataError, match=rf"has 0 response tokens, and {LENGTHS[1]} in"):
        table.attach(batch)


@pytest.mark.parametrize(
    "name", ["runs.npy", "logprobs.npy", "starts.npy", "tokens.f32"]
)
def test_a_damaged_table_is_named(table, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"cannot be read .*delete it"):
        ReferenceTable(tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_split(tmp_path):
    """What a process has resident, as it makes a table and reads from it."""
    script = """
        import pathlib, resource, sys
        import numpy as np
        from dro_jax.training.before.reference_cache import ReferenceCache
        from dro_jax.training.before.reference_logprobs import ReferenceLogprobs

        size, at_once = int(sys.argv[2]), 100_000
        cache = ReferenceCache(pathlib.Path(sys.argv[1]), {})
        for first in range(0, size, at_once):
            ids = first + np.arange(at_once)[::-1]
            lengths = np.full(at_once, 40, np.int32)
            numbers = np.ones(at_once, np.float32), np.ones(40 * at_once, np.float32)
            part = ReferenceLogprobs(ids, numbers[0], lengths, numbers[1])
            end = first + at_once
            cache.write((first, 0), part, (end, 0), last=end == size)
        table = cache.table()
        rng = np.random.default_rng(0)
        for _ in range(200):
            records = rng.integers(0, size, 100)
            found = table.attach({
                "record_ids": np.stack([0 * records, records], -1)[:, None],
                "trajectory_weights": np.ones((100, 1)),
                "decoder_loss_weights": np.ones((100, 40)),
            })
        assert np.all(found["reference_token_logprobs"] == 1)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    peaks = []
    for size in (100_000, 2_000_000):  # 16 and 320 MB of tokens
        command = [sys.executable, "-c", textwrap.dedent(script)]
        folder = tmp_path / str(size)
        found = subprocess.run(
            [*command, folder, str(size)], check=True, capture_output=True, text=True
        )
        peaks.append(int(found.stdout))
    assert peaks[1] - peaks[0] < 100  # MiB; ids, sums and places of tokens are 40
