"""Vocabularies by name or path, checked for what T5 takes for granted."""

import os
from typing import NamedTuple

import seqio
import tensorflow as tf

from dro_jax.errors import ConfigError, DataError

BYTE = "byte"
PAD_ID = 0


def resolve_vocabulary(
    vocabulary: str | os.PathLike | seqio.Vocabulary, extra_ids: int = 0
) -> seqio.Vocabulary:
    """A vocabulary from what a task was given.

    Args:
      vocabulary: `byte` (ByT5's), the path of a SentencePiece model, which is read only
        when the vocabulary is first used, or a vocabulary as it is.
      extra_ids: sentinels to add at the end; for a name or path alone.

    Raises:
      ConfigError: neither of these, or `extra_ids` would have no effect.
    """
    if isinstance(vocabulary, seqio.Vocabulary):
        if extra_ids:
            raise ConfigError(
                "extra_ids has no effect on a vocabulary that is already built: give it "
                f"to {type(vocabulary).__name__} itself"
            )
        return vocabulary
    if vocabulary == BYTE:
        return seqio.ByteVocabulary(extra_ids=extra_ids)
    if isinstance(vocabulary, str | os.PathLike):
        return seqio.SentencePieceVocabulary(os.fspath(vocabulary), extra_ids=extra_ids)
    raise ConfigError(
        "vocabulary must be 'byte', the path of a SentencePiece model or a "
        f"seqio.Vocabulary, not {type(vocabulary).__name__}"
    )


def check_vocabulary(vocabulary: seqio.Vocabulary) -> None:
    """Loads a vocabulary and checks its special tokens.

    Raises:
      DataError: its file is missing or no SentencePiece model, or it has no end-of-text
        token, or id 0 is not padding.
    """
    path = getattr(vocabulary, "sentencepiece_model_file", None)
    if path is not None:
        _load_sentencepiece(vocabulary, path)
    name = path or type(vocabulary).__name__
    if vocabulary.eos_id is None or vocabulary.eos_id < 0:
        raise DataError(
            f"the vocabulary {name} has no end-of-text token, so a response could never "
            "end: train the SentencePiece model with eos_id=1, as T5's"
        )
    if _pad_id(vocabulary) != PAD_ID:
        raise DataError(
            f"the vocabulary {name} uses id {PAD_ID} for a token of text, but T5 takes "
            "it for padding and would leave that token out: train the SentencePiece "
            "model with pad_id=0, eos_id=1, unk_id=2, as T5's"
        )


class FlatTokens(NamedTuple):
    """Tokens of B texts, end to end.

    Attributes:
      values: int32 ``[sum of lengths]``.
      lengths: int32 ``[B]``.
    """

    values: tf.Tensor
    lengths: tf.Tensor


def encode_texts(vocabulary: seqio.Vocabulary, texts: tf.Tensor) -> FlatTokens:
    """Tokens of many texts by TensorFlow operations, without an end-of-text token.

    Args:
      vocabulary: any.
      texts: ``[B]``.
    """
    if type(vocabulary) is seqio.ByteVocabulary:
        (zero_byte,) = vocabulary.encode("\0")
        joined = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)
        return FlatTokens(
            tf.cast(joined, tf.int32) + zero_byte, tf.strings.length(texts)
        )
    if type(vocabulary) is seqio.SentencePieceVocabulary:
        ragged = vocabulary.encode_tf(texts)
    else:
        ragged = tf.map_fn(
            lambda text: tf.cast(vocabulary.encode_tf(text), tf.int32),
            texts,
            fn_output_signature=tf.RaggedTensorSpec([None], tf.int32),
        )
    return FlatTokens(
        tf.cast(ragged.values, tf.int32), tf.cast(ragged.row_lengths(), tf.int32)
    )


def describe_vocabulary(vocabulary: seqio.Vocabulary) -> str:
    """A few words, without loading it."""
    path = getattr(vocabulary, "sentencepiece_model_file", None)
    if path is not None:
        return f"SentencePiece {path}"
    return (
        BYTE
        if isinstance(vocabulary, seqio.ByteVocabulary)
        else type(vocabulary).__name__
    )


def _load_sentencepiece(vocabulary: seqio.Vocabulary, path: str) -> None:
    if not os.path.exists(path) and "://" not in path:
        raise DataError(
            f"the vocabulary {path} does not exist: give the path of a SentencePiece "
            "model, or 'byte'"
        )
    try:
        vocabulary.load_model()
    except Exception as error:
        raise DataError(
            f"the vocabulary {path} is not a SentencePiece model that can be read "
            f"({type(error).__name__}: {error})"
        ) from error


def _pad_id(vocabulary: seqio.Vocabulary) -> int:
    tokenizer = getattr(vocabulary, "tokenizer", None)
    if hasattr(tokenizer, "pad_id"):
        return tokenizer.pad_id()
    return vocabulary.pad_id
