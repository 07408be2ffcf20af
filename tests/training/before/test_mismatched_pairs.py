"""Responses beside prompts that they do not answer."""

import numpy as np
import pytest
import small

from dro_jax.training.before.mismatched_pairs import (
    MismatchedPairs,
    with_mismatched_prompts,
)

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


def pairs_of_split(batches):
    """(record, tokens of its response, tokens of the other prompt), over a split."""
    split = MismatchedPairs()
    numbers = []
    for batch in batches:
        split.add(batch)
        numbers += batch["record_ids"][batch["trajectory_weights"] > 0][:, 1].tolist()
    found = set()
    for batch, owners in split.batches():
        assert batch["encoder_input_tokens"].shape == batches[0]["encoder_input_tokens"].shape
        for row, slot in np.argwhere(owners >= 0):
            texts = []
            for side in ("encoder_input_tokens", "decoder_target_tokens"):
                tokens = batch[side][row]
                segments = batch.get(f"{side[:7]}_segment_ids")
                if segments is not None:
                    tokens = tokens[segments[row] == slot + 1]
                texts.append(tuple(tokens[tokens > 0].tolist()))
            found.add((numbers[owners[row, slot]], *texts))
        split.keep(owners, owners.astype(np.float32))
    log_ratios, weights = split.of_records()
    kept = {number for number, *_ in found}
    assert [number in kept for number in sorted(numbers)] == (weights > 0).tolist()
    in_order = np.argsort(numbers)
    np.testing.assert_array_equal(log_ratios[weights > 0], in_order[weights > 0])
    return found


def test_pairs_of_a_split_do_not_depend_on_its_batches(items):
    rows = [[item] for item in items]
    one = pairs_of_split([batch_of(rows, packed=False)])
    parts = [batch_of(rows[i : i + 2], packed=False) for i in (4, 0, 2)]
    assert pairs_of_split(parts) == one
    packed = [batch_of([items[3:6]]), batch_of([items[:3]])]
    assert pairs_of_split(packed) == one
    by_number = {item["number"]: item for item in items}
    prompts = [tuple(item["prompt"].tolist()) for item in items]
    assert len(one) == len(items)
    for number, prompt, response in one:
        assert response == tuple(by_number[number]["response"].tolist())
        assert prompt in prompts
        assert prompt != tuple(by_number[number]["prompt"].tolist())


def test_equal_prompts_make_no_pair_of_a_split(items):
    twins = [items[0], items[0] | {"number": 9}]
    assert pairs_of_split([batch_of([[x] for x in twins], packed=False)]) == set()
