"""A vocabulary kept beside a model, so that texts can be read where the task is not."""

import pathlib
from collections.abc import Mapping
from typing import Any

from dro_jax.data.sentencepiece_files import read_model
from dro_jax.data.text_vocabularies import ByteVocabulary, SentencePieceVocabulary
from dro_jax.data.vocabularies import Vocabulary, check_vocabulary, own
from dro_jax.data.whitespace import WhitespaceVocabulary
from dro_jax.errors import DataError
from dro_jax.whole_files import write_whole

_FILE = "vocabulary.model"
_BYTE, _PIECES, _OTHER = "byte", "sentencepiece", "other"


def keep_vocabulary(vocabulary: Vocabulary, folder: pathlib.Path) -> dict[str, Any]:
    """Puts a vocabulary's file into a folder; what makes it anew, as JSON holds it.

    Args:
      vocabulary: one that :func:`check_vocabulary` takes.
      folder: is there.
    """
    vocabulary = own(vocabulary)
    kind = type(vocabulary)
    if kind is ByteVocabulary:
        return {"kind": _BYTE, "extra_ids": vocabulary.extra_ids}
    if kind not in (SentencePieceVocabulary, WhitespaceVocabulary):
        return {"kind": _OTHER, "name": f"{kind.__module__}.{kind.__qualname__}"}
    content = read_model(vocabulary.sentencepiece_model_file)
    write_whole(folder / _FILE, lambda file: file.write(content))
    found = {"kind": _PIECES, "extra_ids": vocabulary.extra_ids}
    if kind is WhitespaceVocabulary:
        found["marks"] = dict(vocabulary.marks)
    return found


def kept_vocabulary(settings: Mapping[str, Any], folder: pathlib.Path) -> Vocabulary:
    """The vocabulary that :func:`keep_vocabulary` kept.

    Raises:
      DataError: its file is missing or damaged, or it is of a kind that cannot be kept.
    """
    kind, path = settings["kind"], str(folder / _FILE)
    if kind == _OTHER:
        raise DataError(
            f"the model in {folder} reads texts with {settings['name']}, a vocabulary of "
            "one's own, which cannot be kept beside it: train with bytes or a "
            "SentencePiece model"
        )
    if kind == _BYTE:
        vocabulary = ByteVocabulary(settings["extra_ids"])
    elif "marks" in settings:
        vocabulary = WhitespaceVocabulary(
            path, settings["extra_ids"], settings["marks"]
        )
    else:
        vocabulary = SentencePieceVocabulary(path, settings["extra_ids"])
    check_vocabulary(vocabulary)
    return vocabulary
