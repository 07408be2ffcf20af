"""Ids of records as runs, and records prompt by prompt."""

import numpy as np
import pytest

from dro_jax.data.record_ids import PromptRecords, RecordIds


@pytest.mark.parametrize(
    ("ids", "num_runs"),
    [
        (np.arange(5, 12), 1),
        (np.array([7, 8, 10, 11, 13, 3, 4, 5]), 4),  # bad records, and another task
        (np.array([9, 2, 7, 4, 5, 6, 1, 30]), 6),
        (np.zeros(0, np.int64), 0),
    ],
)
def test_ids_are_found_where_they_stand(ids, num_runs):
    made = RecordIds.joined([ids[:2], ids[:0], ids[2:3], ids[3:]])
    assert len(made) == len(ids)
    assert len(made.runs) == num_runs
    np.testing.assert_array_equal(made, ids)
    np.testing.assert_array_equal(made[1:3], ids[1:3])
    np.testing.assert_array_equal(RecordIds(*made.runs.T), ids)
    asked = np.arange(40).reshape(5, 8)
    entries, known = made.locate(asked)
    np.testing.assert_array_equal(known, np.isin(asked, ids))
    np.testing.assert_array_equal(ids[entries[known]], asked[known])


def test_an_id_that_comes_twice_is_a_mistake():
    with pytest.raises(ValueError, match="twice"):
        RecordIds.of(np.array([4, 5, 6, 5]))


def test_all_responses_to_a_prompt_come_together():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 64, 200, np.uint64)
    prompts = hashes[rng.integers(0, 200, 1000)]
    records = PromptRecords(np.arange(1000), prompts, np.zeros(1000, np.float32))
    parts = list(records.by_prompt(at_once=100))
    assert len(parts) == 16
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    owners = [set(prompts[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners)) == records.num_prompts
    assert all(np.all(np.diff(part) > 0) for part in parts)
