"""Completed batches, whole or a host's part of them."""

import itertools

import numpy as np
import pytest
from array_data import ArrayDataset, assert_same_batches

from dro_jax.training.before.prepared_data import PreparedData


@pytest.mark.parametrize("mismatched", [False, True])
def test_parts_are_those_of_the_whole_batch(mismatched):
    # The prompts of mismatched pairs are other rows', which may be another host's.
    data = PreparedData(ArrayDataset(), mismatched=mismatched)
    whole = list(itertools.islice(data.batches((8, 0)), 3))
    assert ("mismatched_weights" in whole[0]) == mismatched
    parts = [itertools.islice(data.batches((8, 0), (host, 4)), 3) for host in range(4)]
    together = [
        {
            name: x
            if name == "next_position"
            else np.concatenate([part[name] for part in own])
            for name, x in own[0].items()
        }
        for own in zip(*parts, strict=True)
    ]
    assert_same_batches(together, whole)
