"""Records by position: tokens, texts, hashes and identities."""

import hashlib

import numpy as np
import pytest

from dro_jax.data.whitespace import WhitespaceVocabulary
from dro_jax.errors import DataError

ROWS = [
    {"prompt": "the cat", "response": "sat\n on  the mat", "reward": 1.0},
    {"prompt": "", "response": "no prompt, so it is dropped", "reward": 0.0},
    {"prompt": "a dog — ran", "response": "ok", "reward": 0.1},
    {"prompt": "the cat", "response": "x" * 300, "reward": -2.0},
]


@pytest.fixture(params=["byte", "sentencepiece", "whitespace"])
def task(request, register, sentencepiece_model):
    vocabulary = {
        "byte": "byte",
        "sentencepiece": sentencepiece_model,
        "whitespace": WhitespaceVocabulary(sentencepiece_model, extra_ids=3),
    }[request.param]
    return register(ROWS, vocabulary=vocabulary, on_bad_record="drop")


def test_tokens_are_those_of_the_vocabulary_whole(task):
    records = task.records("train")
    assert len(records) == 3
    for position in range(3):
        for column, side in enumerate(("inputs", "targets")):
            (text,) = records.texts(np.array([position]), side)
            tokens = records.tokens(np.array([position]), side)
            assert tokens.dtype == np.int32
            assert tokens.tolist() == task.vocabulary.encode(text)
            assert records.lengths[position, column] == len(tokens)


def test_tokens_and_texts_come_in_the_order_asked_for(task):
    records = task.records("train")
    parts = [records.tokens(np.array([i]), "targets") for i in (2, 0, 2)]
    together = records.tokens(np.array([2, 0, 2]), "targets")
    np.testing.assert_array_equal(together, np.concatenate(parts))
    assert records.texts(np.array([2, 1]), "inputs") == ["the cat", "a dog — ran"]
    assert records.tokens(np.array([], np.int64), "inputs").shape == (0,)
    assert records.texts(np.array([], np.int64), "inputs") == []


def test_facts_of_records(task):
    records = task.records("train")
    assert records.rewards.tolist() == [1.0, 0.1, -2.0]
    assert records.indices.tolist() == [0, 2, 3]
    assert records.lengths.dtype == np.int32
    assert records.prompt_hashes.dtype == np.uint64
    digest = hashlib.sha256("a dog — ran".encode()).digest()
    assert records.prompt_hashes[1] == int.from_bytes(digest[:8], "big")
    assert records.prompt_hashes[0] == records.prompt_hashes[2]
    assert records.identity(1).endswith("-train.jsonl line 3")
    assert records.position(3) == 2
    with pytest.raises(DataError, match="no valid record of index 1"):
        records.position(1)
