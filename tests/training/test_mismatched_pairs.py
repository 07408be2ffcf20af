"""Responses beside prompts that they do not answer."""

import numpy as np
import pytest
import small

from dro_jax.training.mismatched_pairs import with_mismatched_prompts

LENGTHS = ((4, 3), (3, 4), (5, 2), (2, 5), (3, 3), (2, 2))


def batch_of(rows, packed=True):
    """A batch whose records are numbered in the order of `rows`' examples."""
    batch = {k: np.array(x) for k, x in small.pack(rows, packed=packed).items()}
    ids = np.zeros((*batch["rewards"].shape, 2), np.int32)
    for row, items in enumerate(rows):
        for slot, item in enumerate(items):
            ids[row, slot] = 7, item["number"]
    return batch | {"record_ids": ids}


@pytest.fixture
def items():
    return [
        item | {"number": number}
        for number, item in enumerate(small.examples(0, LENGTHS))
    ]


def pairs(batch):
    """(record, tokens of the other prompt) of each pair that counts."""
    found = set()
    for row, slot in np.argwhere(batch["mismatched_weights"] > 0):
        tokens = batch["mismatched_encoder_input_tokens"][row]
        if "encoder_segment_ids" in batch:
            tokens = tokens[batch["mismatched_encoder_segment_ids"][row] == slot + 1]
        found.add((int(batch["record_ids"][row, slot, 1]), tuple(tokens[tokens > 0])))
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_every_response_meets_the_prompt_of_another(items, packed):
    rows = [items[i : i + 2] for i in (0, 2, 4)] if packed else [[x] for x in items]
    batch = with_mismatched_prompts(batch_of(rows, packed))
    found = pairs(batch)
    assert len(found) == len(items)
    prompts = [tuple(item["prompt"].tolist()) for item in items]
    for number, other in found:
        assert other in prompts
        assert other != prompts[number]
    assert {other for _, other in found} == set(prompts)


def test_pairs_do_not_depend_on_the_order_of_rows(items):
    rows = [[item] for item in items]
    straight = pairs(with_mismatched_prompts(batch_of(rows, packed=False)))
    order = [3, 0, 5, 1, 4, 2]
    shuffled = [rows[i] for i in order]
    assert pairs(with_mismatched_prompts(batch_of(shuffled, packed=False))) == straight


def test_rows_of_padding_and_equal_prompts_make_no_pair(items):
    twin = items[0] | {"number": 9}
    batch = batch_of([[items[0]], [twin]], packed=False)
    assert with_mismatched_prompts(batch)["mismatched_weights"].sum() == 0
    batch = batch_of([[items[0]], [items[1]], [items[2]]], packed=False)
    batch["trajectory_weights"][2] = 0
    weights = with_mismatched_prompts(batch)["mismatched_weights"]
    assert weights[:, 0].tolist() == [1, 1, 0]
