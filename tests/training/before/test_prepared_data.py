"""Completed batches, whole or a host's part of them."""

import itertools

import numpy as np
import pytest
from array_data import ArrayDataset, assert_same_batches

from dro_jax.data.dataset import DatasetConfig
from dro_jax.training.before.prepared_data import PreparedData


def parts_together(data, start):
    """Batches put together from those of four hosts."""
    parts = [itertools.islice(data.batches(start, (host, 4)), 3) for host in range(4)]
    return [
        {
            name: x
            if name == "next_position"
            else np.concatenate([part[name] for part in own])
            for name, x in own[0].items()
        }
        for own in zip(*parts, strict=True)
    ]


@pytest.mark.parametrize("mismatched", [False, True])
def test_parts_are_those_of_the_whole_batch(mismatched):
    # The prompts of mismatched pairs are other rows', which may be another host's.
    data = PreparedData(ArrayDataset(), mismatched=mismatched)
    whole = list(itertools.islice(data.batches((8, 0)), 3))
    assert ("mismatched_weights" in whole[0]) == mismatched
    assert_same_batches(parts_together(data, (8, 0)), whole)


@pytest.mark.parametrize("packing", [{}, {"pack": True, "packing_window": 64}])
def test_other_hosts_prompts_are_read_for_pairs_alone(packing):
    config = DatasetConfig(
        "support_desk",
        {"inputs": 40, "targets": 40},
        split="validation",
        module="dro_jax.tasks.support_desk.task",
        num_epochs=1,
        **packing,
    )
    data = PreparedData(config, mismatched=True)
    # To the end of the split, whose last batch is filled up.
    start = ((config.num_records() - 1) // 64 * 64, 0)
    whole = list(itertools.islice(data.batches(start), 3))
    assert whole[0]["mismatched_weights"].sum() > 4
    assert_same_batches(parts_together(data, start), whole)
