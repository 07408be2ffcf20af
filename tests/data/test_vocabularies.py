"""Vocabularies are found, checked, and encode many texts as they encode one."""

import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from dro_jax.data.seqio_vocabularies import as_seqio, encode_tf
from dro_jax.data.vocabularies import (
    check_tokenizer,
    check_vocabulary,
    describe_vocabulary,
    encode_texts,
    own,
    resolve_vocabulary,
)
from dro_jax.errors import ConfigError, DataError
from dro_jax.models import model

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
        resolve_vocabulary(sentencepiece_model, 3, True),
        Reversed(),
    ):
        for texts in (TEXTS, [text.encode() for text in TEXTS], []):
            values, lengths = encode_texts(vocabulary, texts)
            assert values.dtype == lengths.dtype == np.int32
            found = np.split(values, np.cumsum(lengths)[:-1]) if texts else []
            assert [part.tolist() for part in found] == [
                list(vocabulary.encode(text)) for text in (TEXTS if texts else [])
            ]


@pytest.mark.parametrize("extra_ids", [0, 100])
def test_numbers_and_texts_are_seqios(sentencepiece_model, extra_ids):
    """By its Python, which `t5x.infer` decodes with, and by TensorFlow."""
    for ours in (
        resolve_vocabulary("byte", extra_ids),
        resolve_vocabulary(sentencepiece_model, extra_ids),
    ):
        theirs = as_seqio(ours)
        assert type(theirs).__module__ == "seqio.vocabularies"
        assert own(theirs) == ours
        for name in ("vocab_size", "bos_id", "eos_id", "unk_id", "pad_id", "extra_ids"):
            assert getattr(ours, name) == getattr(theirs, name)
        texts = [*TEXTS, "<extra_id_0> the<extra_id_99>", "\u2581 \u00a0 ﬁ ½"]
        numbers = encode_tf(theirs, tf.constant(texts)).values.numpy().tolist()
        assert encode_texts(ours, texts).values.tolist() == numbers
        for text in texts:
            assert ours.encode(text) == list(theirs.encode(text))
        rng = np.random.default_rng(0)
        for ids in rng.integers(0, ours.vocab_size + 5, (20, 9)).tolist():
            assert ours.decode(ids) == theirs.decode(ids)


def test_a_vocabulary_of_seqios_that_is_not_ours_stays(sentencepiece_model):
    fast = seqio.SentencePieceVocabulary(sentencepiece_model, use_fast_tokenizer=True)
    assert resolve_vocabulary(fast) is own(fast) is fast
    assert type(resolve_vocabulary(Reversed())) is Reversed


def test_byte_ids_are_byt5s():
    # ByT5 (arXiv:2105.13626): bytes follow three special tokens; 'a' is byte 97.
    values, lengths = encode_texts(resolve_vocabulary("byte"), ["ab"])
    assert (values.tolist(), lengths.tolist()) == ([100, 101], [2])


def test_extra_ids(sentencepiece_model):
    assert resolve_vocabulary("byte", extra_ids=4).vocab_size == 259 + 4
    plain = resolve_vocabulary(sentencepiece_model)
    more = resolve_vocabulary(sentencepiece_model, extra_ids=4)
    assert more.vocab_size == plain.vocab_size + 4
    with pytest.raises(ConfigError, match="extra_ids has no effect"):
        resolve_vocabulary(seqio.ByteVocabulary(), extra_ids=4)


def test_extra_ids_are_t5s(sentencepiece_model):
    """T5's `<extra_id_0>` is its last id, 32,099; `<extra_id_99>` the first after 32,000."""
    plain = resolve_vocabulary(sentencepiece_model)
    vocabulary = resolve_vocabulary(sentencepiece_model, extra_ids=100)
    assert vocabulary.encode("<extra_id_0>") == [vocabulary.vocab_size - 1]
    assert vocabulary.encode("<extra_id_99>") == [plain.vocab_size]
    text = "the cat <extra_id_0> on <extra_id_1>"
    ids = vocabulary.encode(text)
    assert encode_texts(vocabulary, [text]).values.tolist() == list(ids)
    assert vocabulary.decode(ids) == text
    assert [i for i in ids if i >= plain.vocab_size] == [
        vocabulary.vocab_size - 1,
        vocabulary.vocab_size - 2,
    ]
    # Ordinary text has the same ids with and without them.
    assert vocabulary.encode("the cat sat") == plain.encode("the cat sat")
    # Rows that only fill up an embedding decode as unknown.
    assert vocabulary.decode([vocabulary.vocab_size]) == vocabulary.decode([2])


def test_extra_ids_that_are_there_already(sentencepiece_model, tmp_path):
    """mT5's file holds its hundred itself."""
    path = tmp_path / "mt5.model"
    path.write_bytes(resolve_vocabulary(sentencepiece_model, extra_ids=100).sp_model)
    vocabulary = resolve_vocabulary(path)
    check_vocabulary(vocabulary)
    assert vocabulary.encode("<extra_id_0>") == [vocabulary.vocab_size - 1]
    with pytest.raises(DataError, match=r"mt5\.model holds its extra ids.*extra_ids=0"):
        check_vocabulary(resolve_vocabulary(path, extra_ids=100))


def test_extra_ids_below_zero():
    with pytest.raises(ConfigError, match="extra_ids is -1"):
        resolve_vocabulary("byte", extra_ids=-1)


def test_extra_ids_count_against_the_embedding(sentencepiece_model):
    vocabulary = resolve_vocabulary(sentencepiece_model, extra_ids=100)
    model.check_vocabulary(vocabulary, vocabulary.vocab_size)
    with pytest.raises(ConfigError, match=rf"{vocabulary.vocab_size} pieces but"):
        model.check_vocabulary(vocabulary, vocabulary.vocab_size - 1)


@pytest.fixture
def other_sentencepiece_model(sentencepiece_model, tmp_path):
    """As large as the other, with two pieces exchanged."""
    from sentencepiece import sentencepiece_model_pb2

    with open(sentencepiece_model, "rb") as file:
        proto = sentencepiece_model_pb2.ModelProto.FromString(file.read())
    first, second = proto.pieces[5].piece, proto.pieces[6].piece
    proto.pieces[5].piece, proto.pieces[6].piece = second, first
    path = tmp_path / "other.model"
    path.write_bytes(proto.SerializeToString())
    return str(path)


def test_tokenizer_of_a_checkpoint(
    sentencepiece_model, other_sentencepiece_model, tmp_path
):
    spiece = tmp_path / "spiece.model"
    with open(sentencepiece_model, "rb") as file:
        spiece.write_bytes(file.read())
    vocabulary = resolve_vocabulary(sentencepiece_model)
    with_extra = resolve_vocabulary(sentencepiece_model, extra_ids=100)
    other = resolve_vocabulary(other_sentencepiece_model, extra_ids=100)
    check_tokenizer(vocabulary, [spiece])
    check_tokenizer(with_extra, [spiece])
    with pytest.raises(DataError, match=r"at id 5, but .*other\.model"):
        check_tokenizer(other, [spiece])
    with pytest.raises(DataError, match="is of SentencePiece, but .* of bytes"):
        check_tokenizer(resolve_vocabulary("byte"), [spiece])
    # Its pieces are in tokenizer.json too, its extra ids with them.
    size = with_extra.vocab_size
    pieces = [[with_extra.tokenizer.id_to_piece(i), 0.0] for i in range(size)]
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(json.dumps({"model": {"vocab": pieces[:-2]}}))
    check_tokenizer(with_extra, [tokenizer])
    with pytest.raises(DataError, match="at id 5"):
        check_tokenizer(other, [tokenizer])
    tokenizer.write_text(json.dumps({"model": {"vocab": pieces[:20]}}))
    with pytest.raises(DataError, match="has 20 pieces, but"):
        check_tokenizer(vocabulary, [tokenizer])
    tokenizer.write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json cannot be read"):
        check_tokenizer(vocabulary, [tokenizer])


def test_tokenizer_of_bytes(sentencepiece_model, tmp_path):
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    check_tokenizer(resolve_vocabulary("byte"), [settings])
    with pytest.raises(DataError, match="is of bytes, but .* of SentencePiece"):
        check_tokenizer(resolve_vocabulary(sentencepiece_model), [settings])
    # Nothing to compare.
    settings.write_text("{}")
    check_tokenizer(resolve_vocabulary(sentencepiece_model), [settings])
    check_tokenizer(seqio.PassThroughVocabulary(10), [settings])
    check_tokenizer(resolve_vocabulary("byte"), [])


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
