"""Vocabularies are found, checked, and encode many texts as they encode one."""

import pytest
import seqio
import tensorflow as tf

from dro_jax.data.vocabularies import (
    check_vocabulary,
    describe_vocabulary,
    encode_texts,
    resolve_vocabulary,
)
from dro_jax.errors import ConfigError, DataError

TEXTS = ["the cat", "", "a dög — 犬 🐕", " x  y ", "late\nparcel\0end"]


class Reversed(seqio.ByteVocabulary):
    """A vocabulary of a user's own, which encodes single texts alone."""

    def _encode(self, s):
        return super()._encode(s)[::-1]

    def _encode_tf(self, s):
        return tf.reverse(super()._encode_tf(s), [0])


def test_batches_are_encoded_as_single_texts(sentencepiece_model):
    for vocabulary in (
        resolve_vocabulary("byte"),
        resolve_vocabulary(sentencepiece_model),
        Reversed(),
    ):
        values, lengths = encode_texts(vocabulary, tf.constant(TEXTS))
        assert values.dtype == lengths.dtype == tf.int32
        encoded = tf.RaggedTensor.from_row_lengths(values, lengths)
        single = [list(vocabulary.encode(text)) for text in TEXTS]
        if isinstance(vocabulary, seqio.SentencePieceVocabulary):
            single[-1] = vocabulary.tf_tokenizer.tokenize(TEXTS[-1]).numpy().tolist()
        assert encoded.to_list() == single


def test_byte_ids_are_byt5s():
    # ByT5 (arXiv:2105.13626): bytes follow three special tokens; 'a' is byte 97.
    values, lengths = encode_texts(resolve_vocabulary("byte"), tf.constant(["ab"]))
    assert (values.numpy().tolist(), lengths.numpy().tolist()) == ([100, 101], [2])


def test_extra_ids(sentencepiece_model):
    assert resolve_vocabulary("byte", extra_ids=4).vocab_size == 259 + 4
    plain = resolve_vocabulary(sentencepiece_model)
    more = resolve_vocabulary(sentencepiece_model, extra_ids=4)
    assert more.vocab_size == plain.vocab_size + 4
    with pytest.raises(ConfigError, match="extra_ids has no effect"):
        resolve_vocabulary(seqio.ByteVocabulary(), extra_ids=4)


def test_missing_model_is_found_out_at_use(tmp_path):
    vocabulary = resolve_vocabulary(tmp_path / "none.model")
    assert describe_vocabulary(vocabulary).endswith("none.model")
    with pytest.raises(DataError, match=r"none\.model does not exist"):
        check_vocabulary(vocabulary)


def test_file_that_is_no_model(tmp_path):
    path = tmp_path / "text.model"
    path.write_text("not a model")
    with pytest.raises(DataError, match=r"text\.model is not a SentencePiece model"):
        check_vocabulary(resolve_vocabulary(path))


def test_id_zero_must_be_padding(unusual_sentencepiece_model):
    with pytest.raises(DataError, match="uses id 0 for a token of text.*pad_id=0"):
        check_vocabulary(resolve_vocabulary(unusual_sentencepiece_model))


def test_there_must_be_an_end_of_text_token():
    with pytest.raises(DataError, match="no end-of-text token"):
        check_vocabulary(seqio.PassThroughVocabulary(10))


def test_other_things_are_no_vocabulary():
    with pytest.raises(ConfigError, match="'byte', the path.*not int"):
        resolve_vocabulary(32_000)


def test_descriptions():
    assert describe_vocabulary(seqio.ByteVocabulary()) == "byte"
    assert (
        describe_vocabulary(seqio.PassThroughVocabulary(1)) == "PassThroughVocabulary"
    )
