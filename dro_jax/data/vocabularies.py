"""Vocabularies by name or path, checked for what T5 takes for granted."""

import json
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dro_jax.data.sentencepiece_files import (
    holds_extra_ids,
    processor_of,
    read_model,
)
from dro_jax.data.text_vocabularies import (
    ByteVocabulary,
    SentencePieceVocabulary,
    TextVocabulary,
)
from dro_jax.data.tokens import Tokens
from dro_jax.data.whitespace import WhitespaceVocabulary, keep_whitespace
from dro_jax.errors import ConfigError, DataError
from dro_jax.paths import expanded, is_url

BYTE = "byte"
PAD_ID = 0
# One of this package's, or a `seqio.Vocabulary` of a kind that it does not have.
Vocabulary = Any


def resolve_vocabulary(
    vocabulary: str | os.PathLike | Vocabulary,
    extra_ids: int = 0,
    whitespace: Mapping[str, str] | bool = False,
) -> Vocabulary:
    """A vocabulary from what a task was given.

    Args:
      vocabulary: `byte` (ByT5's), the path of a SentencePiece model, which is read only
        when the vocabulary is first used, or a vocabulary as it is.
      extra_ids: sentinels to add at the end, `<extra_id_0>` the last; for a name or path
        alone. T5's model of 32,000 pieces takes 100; mT5's and umT5's files hold theirs
        already and take none.
      whitespace: whether line breaks, tabs and runs of spaces are kept, and as which
        words: see `dro_jax.data.whitespace`.

    Raises:
      ConfigError: neither of these, or a setting would have no effect.
    """
    return keep_whitespace(_resolved(vocabulary, extra_ids), whitespace)


def _resolved(vocabulary: str | os.PathLike | Vocabulary, extra_ids: int) -> Vocabulary:
    if extra_ids < 0:
        raise ConfigError(f"extra_ids is {extra_ids}: give 0 or more")
    if isinstance(vocabulary, TextVocabulary) or _is_seqios(vocabulary):
        if extra_ids:
            raise ConfigError(
                "extra_ids has no effect on a vocabulary that is already built: give it "
                f"to {type(vocabulary).__name__} itself"
            )
        return own(vocabulary)
    if vocabulary == BYTE:
        return ByteVocabulary(extra_ids)
    if isinstance(vocabulary, str | os.PathLike):
        return SentencePieceVocabulary(expanded(vocabulary), extra_ids)
    raise ConfigError(
        "vocabulary must be 'byte', the path of a SentencePiece model or a "
        f"seqio.Vocabulary, not {type(vocabulary).__name__}"
    )


def own(vocabulary: Vocabulary) -> Vocabulary:
    """This package's vocabulary of the same numbers, in the place of one of seqio's.

    One of a kind, or with settings, that this package does not have, as it is.
    """
    if not _is_seqios(vocabulary):
        return vocabulary
    seqio = sys.modules["seqio"]
    if type(vocabulary) is seqio.ByteVocabulary:
        return ByteVocabulary(vocabulary.extra_ids)
    if type(vocabulary) is seqio.SentencePieceVocabulary:
        path, extra_ids = vocabulary.sentencepiece_model_file, vocabulary.extra_ids
        if vocabulary == seqio.SentencePieceVocabulary(path, extra_ids):
            return SentencePieceVocabulary(path, extra_ids)
    return vocabulary


def _is_seqios(vocabulary: Any) -> bool:
    # Whoever has one has imported seqio, which this module does not.
    seqio = sys.modules.get("seqio")
    return seqio is not None and isinstance(vocabulary, seqio.Vocabulary)


def check_vocabulary(vocabulary: Vocabulary) -> None:
    """Loads a vocabulary and checks its special tokens.

    Raises:
      DataError: its file is missing or no SentencePiece model, or holds the extra ids
        that were to be added; or it has no end-of-text token, or id 0 is not padding;
        or it cannot keep the white space that it is to keep.
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
    if isinstance(vocabulary, WhitespaceVocabulary):
        vocabulary.check()


def check_tokenizer(
    vocabulary: Vocabulary, tokenizer_files: Iterable[os.PathLike]
) -> None:
    """Refuses a vocabulary that is not the one of a checkpoint's tokenizer files.

    Args:
      vocabulary: a task's.
      tokenizer_files: those that lie beside a Hugging Face model, by their usual names;
        nothing is compared where none tells the pieces.

    Raises:
      DataError: a token of text has other ids in the two, or a file cannot be read.
    """
    files = {os.path.basename(path): pathlib.Path(path) for path in tokenizer_files}
    vocabulary = own(vocabulary)
    is_byte = isinstance(vocabulary, ByteVocabulary)
    if not is_byte and not hasattr(vocabulary, "sentencepiece_model_file"):
        return
    path, theirs = _pieces_of_files(files)
    if path is None:
        return
    name = f"the task's vocabulary ({describe_vocabulary(vocabulary)})"
    advice = "Give the task the vocabulary that the checkpoint was trained with"
    if is_byte != (theirs is None):
        kinds = ("SentencePiece", "bytes") if is_byte else ("bytes", "SentencePiece")
        raise DataError(
            f"the checkpoint's tokenizer {path} is of {kinds[0]}, but {name} of "
            f"{kinds[1]}. {advice}"
        )
    if theirs is None:
        return
    check_vocabulary(vocabulary)
    ours = _pieces(vocabulary.tokenizer)
    # Beyond lie extra ids, which need not be in both.
    shared = min(len(theirs), len(ours) - vocabulary.extra_ids)
    for i in range(shared):
        if ours[i] != theirs[i]:
            raise DataError(
                f"the checkpoint's tokenizer {path} has {theirs[i]!r} at id {i}, but "
                f"{name} has {ours[i]!r}: texts would be read as others. {advice}"
            )
    if len(ours) - vocabulary.extra_ids > len(theirs):
        raise DataError(
            f"the checkpoint's tokenizer {path} has {len(theirs)} pieces, but {name} "
            f"has {len(ours)}. {advice}"
        )


def _pieces_of_files(files) -> tuple[pathlib.Path | None, list[str] | None]:
    """The file that tells a tokenizer's pieces, and these; None for bytes."""
    try:
        if path := files.get("spiece.model"):
            return path, _pieces(processor_of(path.read_bytes()))
        if path := files.get("tokenizer.json"):
            vocabulary = json.loads(path.read_text("utf-8"))["model"]["vocab"]
            return path, [piece for piece, _ in vocabulary]
        if path := files.get("tokenizer_config.json"):
            settings = json.loads(path.read_text("utf-8"))
            if settings.get("tokenizer_class") == "ByT5Tokenizer":
                return path, None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the checkpoint's tokenizer {path} cannot be read ({error}): it is damaged, "
            "or no tokenizer of a T5"
        ) from error
    return None, None


def _pieces(processor) -> Sequence[str]:
    return processor.id_to_piece(list(range(processor.get_piece_size())))


def encode_texts(vocabulary: Vocabulary, texts: Sequence[str | bytes]) -> Tokens:
    """Tokens of many texts, without an end-of-text token.

    Args:
      vocabulary: any.
      texts: also in UTF-8.
    """
    if isinstance(vocabulary, TextVocabulary):
        return vocabulary.encode_all(texts)
    import tensorflow as tf

    from dro_jax.data.seqio_vocabularies import encode_tf

    found = encode_tf(vocabulary, tf.constant(list(texts), tf.string))
    return Tokens(found.values.numpy(), found.lengths.numpy())


def describe_vocabulary(vocabulary: Vocabulary) -> str:
    """A few words, without loading it."""
    vocabulary = own(vocabulary)
    path = getattr(vocabulary, "sentencepiece_model_file", None)
    if path is not None:
        kept = isinstance(vocabulary, WhitespaceVocabulary)
        return f"SentencePiece {path}" + (", white space kept" if kept else "")
    is_byte = isinstance(vocabulary, ByteVocabulary)
    return BYTE if is_byte else type(vocabulary).__name__


def _load_sentencepiece(vocabulary: Vocabulary, path: str) -> None:
    if not os.path.exists(path) and not is_url(path):
        raise DataError(
            f"the vocabulary {path} does not exist: give the path of a SentencePiece "
            "model, or 'byte'"
        )
    try:
        vocabulary.load_model()
    except Exception as error:
        if vocabulary.extra_ids and _holds_extra_ids(path):
            raise DataError(
                f"the vocabulary {path} holds its extra ids already, as mT5's does, so "
                f"extra_ids={vocabulary.extra_ids} would add them twice: set extra_ids=0"
            ) from error
        raise DataError(
            f"the vocabulary {path} is not a SentencePiece model that can be read "
            f"({type(error).__name__}: {error})"
        ) from error


def _holds_extra_ids(path: str) -> bool:
    try:
        return holds_extra_ids(processor_of(read_model(path)))
    except (RuntimeError, OSError):
        return False


def _pad_id(vocabulary: Vocabulary) -> int:
    tokenizer = getattr(vocabulary, "tokenizer", None)
    if hasattr(tokenizer, "pad_id"):
        return tokenizer.pad_id()
    return vocabulary.pad_id
