"""This package's vocabularies as seqio's, and texts to tokens by TensorFlow."""

from typing import Any, NamedTuple

import seqio
import tensorflow as tf

from dro_jax.data.text_vocabularies import (
    ByteVocabulary,
    SentencePieceVocabulary,
    TextVocabulary,
)
from dro_jax.data.whitespace import (
    Marks,
    Substitution,
    WhitespaceVocabulary,
    from_marks,
    rewritten,
    to_marks,
)


def as_seqio(vocabulary: TextVocabulary | seqio.Vocabulary) -> seqio.Vocabulary:
    """The vocabulary of seqio's that gives the same numbers; one of seqio's, as it is."""
    if isinstance(vocabulary, WhitespaceVocabulary):
        return SeqioWhitespaceVocabulary(
            vocabulary.sentencepiece_model_file,
            vocabulary.extra_ids,
            ours=vocabulary,
        )
    if isinstance(vocabulary, SentencePieceVocabulary):
        return seqio.SentencePieceVocabulary(
            vocabulary.sentencepiece_model_file, vocabulary.extra_ids
        )
    if isinstance(vocabulary, ByteVocabulary):
        return seqio.ByteVocabulary(vocabulary.extra_ids)
    return vocabulary


class SeqioWhitespaceVocabulary(seqio.SentencePieceVocabulary):
    """`WhitespaceVocabulary` as one of seqio's, which TensorFlow reads and writes too.

    Args:
      sentencepiece_model_file, extra_ids: as there.
      ours: that vocabulary, which knows the marks.
    """

    def __init__(
        self,
        sentencepiece_model_file: str,
        extra_ids: int = 0,
        *,
        ours: WhitespaceVocabulary,
    ):
        super().__init__(sentencepiece_model_file, extra_ids=extra_ids)
        self._ours = ours

    @property
    def marks(self) -> Marks:
        """Pairs of white space and its word."""
        return self._ours.marks

    def _encode(self, s: str) -> Any:
        return super()._encode(rewritten(s, to_marks(self.marks)))

    def _decode(self, ids: Any) -> str:
        return rewritten(super()._decode(ids), from_marks(self.marks))

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        return super()._encode_tf(_rewritten_tf(s, to_marks(self.marks)))

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return _rewritten_tf(super()._decode_tf(ids), from_marks(self.marks))


class FlatTokens(NamedTuple):
    """Tokens of B texts, end to end.

    Attributes:
      values: int32 ``[sum of lengths]``.
      lengths: int32 ``[B]``.
    """

    values: tf.Tensor
    lengths: tf.Tensor


def encode_tf(vocabulary: seqio.Vocabulary, texts: tf.Tensor) -> FlatTokens:
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
    if type(vocabulary) in (seqio.SentencePieceVocabulary, SeqioWhitespaceVocabulary):
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


def _rewritten_tf(texts: tf.Tensor, steps: tuple[Substitution, ...]) -> tf.Tensor:
    for step in steps:
        texts = tf.strings.regex_replace(texts, step.pattern, step.rewrite)
    return texts
