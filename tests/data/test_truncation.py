"""Truncation in NumPy is that of the seqio preprocessor, token by token."""

import numpy as np
import pytest
import tensorflow as tf

from dro_jax.data.preprocessing import encode_batch
from dro_jax.data.truncation import Tokens, Truncation
from dro_jax.data.vocabularies import resolve_vocabulary

TEXTS = ["", "a", "abc", "abcd", "abcde", "abcdef" * 3, "", "bc", ""]


def tokens(texts):
    """Of bytes: 'a' is 100."""
    values = [byte + 3 for text in texts for byte in text.encode()]
    return Tokens(np.array(values, np.int32), np.array(list(map(len, texts)), np.int32))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 40])
@pytest.mark.parametrize("texts", [TEXTS, ["", ""], ["abcd"], []], ids=str)
def test_it_is_seqios(texts, limit, side):
    features, lengths = encode_batch(
        {
            "inputs": tf.constant(texts, tf.string),
            "targets": tf.constant(texts, tf.string),
            "reward": tf.zeros([len(texts), 1]),
            "record_id": tf.zeros([len(texts), 2], tf.int32),
        },
        resolve_vocabulary("byte"),
        {"inputs": limit, "targets": limit},
        prompt_truncation=side,
        response_truncation=side,
    )
    bits = (features["truncated"].numpy()[:, 0] & 1, features["truncated"] // 2)
    for name, bit, always_eos in zip(
        ("inputs", "targets"), bits, (True, False), strict=True
    ):
        cut = Truncation(limit, side, always_eos)
        whole = tokens(texts)
        found = cut.cut(whole, eos_id=1)
        assert found.values.dtype == np.int32
        assert found.lengths.tolist() == lengths[name].numpy().tolist()
        padded = features[name].numpy()
        present = np.arange(limit) < found.lengths[:, None]
        assert found.values.tolist() == padded[present].tolist()
        assert cut.lengths(whole.lengths).tolist() == found.lengths.tolist()
        assert cut.cuts(whole.lengths).tolist() == (np.ravel(bit) > 0).tolist()
