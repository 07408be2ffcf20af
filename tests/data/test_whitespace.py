"""White space that SentencePiece would lose, through tokens and back."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from dro_jax.data.seqio_vocabularies import as_seqio, encode_tf
from dro_jax.data.split_fingerprint import split_fingerprint
from dro_jax.data.vocabularies import (
    check_vocabulary,
    describe_vocabulary,
    encode_texts,
    resolve_vocabulary,
)
from dro_jax.data.whitespace import WhitespaceVocabulary
from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.generation import response_text

# All texts of up to five characters of these.
TEXTS = [
    "".join(text)
    for length in range(6)
    for text in itertools.product("at \n\t", repeat=length)
]


@pytest.fixture(scope="module")
def vocabulary(sentencepiece_model):
    vocabulary = resolve_vocabulary(sentencepiece_model, 100, True)
    check_vocabulary(vocabulary)
    return vocabulary


def test_all_white_space_comes_back(vocabulary):
    for text in TEXTS:
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode(vocabulary.encode("a\r\ncat")) == "a\ncat"


def test_tensorflow_reads_and_writes_the_same(vocabulary):
    theirs = as_seqio(vocabulary)
    values, lengths = encode_tf(theirs, tf.constant(TEXTS))
    ours = encode_texts(vocabulary, TEXTS)
    assert values.numpy().tolist() == ours.values.tolist()
    ragged = tf.RaggedTensor.from_row_lengths(values, lengths)
    assert ragged.to_list() == [vocabulary.encode(text) for text in TEXTS]
    decoded = theirs.decode_tf(ragged)
    assert [text.decode() for text in decoded.numpy()] == TEXTS


def test_each_is_one_token_and_words_keep_theirs(vocabulary, sentencepiece_model):
    plain = resolve_vocabulary(sentencepiece_model, 100)
    pieces = len(plain.tokenizer) - 100  # <extra_id_99> stands first of the hundred
    the, cat = plain.encode("the"), plain.encode("cat")
    assert vocabulary.encode("the\ncat") == [*the, pieces, *cat]
    assert vocabulary.encode("the\n\tcat") == [*the, pieces, pieces + 1, *cat]
    assert vocabulary.encode("the  cat") == [*the, pieces + 2, *cat]
    assert vocabulary.encode("the cat") == plain.encode("the cat") == [*the, *cat]
    assert plain.decode(plain.encode("the\ncat")) == "the cat"
    assert vocabulary.vocab_size == plain.vocab_size


def test_generated_tokens_give_plain_text(vocabulary):
    tokens = [*vocabulary.encode("the\n\tcat"), vocabulary.eos_id, 0, 0]
    assert response_text(vocabulary, np.array(tokens)) == "the\n\tcat"


def test_words_of_one_s_own_where_there_are_no_extra_ids(sentencepiece_model):
    vocabulary = resolve_vocabulary(sentencepiece_model, 0, {"\n": "noon"})
    check_vocabulary(vocabulary)
    # Tabs and runs of spaces are lost as ever.
    ids = vocabulary.encode("the\n\ncat\t sat")
    assert vocabulary.decode(ids) == "the\n\ncat sat"
    with pytest.raises(DataError, match="no pieces for '<n>', .*set extra_ids to 3"):
        check_vocabulary(resolve_vocabulary(sentencepiece_model, 0, True))


@pytest.mark.parametrize(
    ("name", "marks", "message"),
    [
        ("byte", True, "no effect on a ByteVocabulary"),
        ("spm", {"\v": "<v>"}, "cannot be used"),
        ("spm", {"\n": "<n>", "\t": "<n>"}, "another each"),
        ("spm", {"\n": "a b"}, "without white space"),
        ("spm", {}, "cannot be used"),
        ("spm", "<n>", "give True, or a word"),
    ],
)
def test_settings_that_cannot_be_used(name, marks, message):
    with pytest.raises(ConfigError, match=message):
        resolve_vocabulary(name, 0, marks)


def test_it_is_another_vocabulary(vocabulary, sentencepiece_model, register):
    plain = resolve_vocabulary(sentencepiece_model, 100)
    assert vocabulary != plain
    assert vocabulary == resolve_vocabulary(plain, 0, True)
    assert vocabulary != WhitespaceVocabulary(sentencepiece_model, 100, {"\n": "the"})
    assert describe_vocabulary(vocabulary).endswith(", white space kept")
    row = {"prompt": "the", "response": "cat", "reward": 1.0}
    prints = [
        split_fingerprint([register([row], vocabulary=v)], "train", {"inputs": 8})
        for v in (
            vocabulary,
            plain,
            WhitespaceVocabulary(sentencepiece_model, 100, {"\n": "the"}),
        )
    ]
    assert len({values["tokeniser"] for values in prints}) == 3
