"""What a split's prepared records are made from, and the key that says so."""

import dataclasses
import hashlib
import json
import re
from typing import Any

import sentencepiece

from dro_jax.data import rewards
from dro_jax.data.chat_template import ChatTemplate
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.sentencepiece_files import read_model
from dro_jax.data.store.code_digest import Unknown, own_code
from dro_jax.data.text_vocabularies import ByteVocabulary, SentencePieceVocabulary
from dro_jax.data.vocabularies import Vocabulary
from dro_jax.data.whitespace import WhitespaceVocabulary

VERSION = 1
_SEQIOS = ("seqio.vocabularies", "SentencePieceVocabulary")
_SAFE = re.compile(r"[^A-Za-z0-9_.]+")


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """How the splits of a task are read.

    Attributes:
      task: its name, for messages.
      source: yields the records.
      record_format: how fields become trajectories.
      on_bad_record: `error` or `drop`.
      vocabulary: of prompts and responses.
    """

    task: str
    source: RecordSource
    record_format: RecordFormat
    on_bad_record: str
    vocabulary: Vocabulary


def key_of(recipe: Recipe, parts: Parts) -> dict[str, Any] | None:
    """All that the records of a split's parts depend on, as JSON holds it.

    None, where it cannot be told what that is: a source of unknown contents, or code
    whose text is not found.
    """
    if parts.contents is None:
        return None
    try:
        return {
            "version": VERSION,
            "code": own_code(),
            "records": parts.contents,
            "units": [[unit.start, unit.end] for unit in parts.units],
            # Identities of records begin with the path, which is put in when read.
            "paths": parts.paths if not all(unit.path for unit in parts.units) else [],
            "format": _format_key(recipe.record_format),
            "on_bad_record": recipe.on_bad_record,
            "vocabulary": vocabulary_key(recipe.vocabulary),
        }
    except Unknown:
        return None


def store_name(split: str, key: dict[str, Any]) -> str:
    """What the folder of a store is called."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return f"{_SAFE.sub('_', split)[:40]}-{digest[:24]}"


def _format_key(record_format: RecordFormat) -> str:
    kinds = (type(record_format), type(record_format.chat_template))
    is_ours = type(record_format.reward_kind).__module__ == rewards.__name__
    if kinds != (RecordFormat, ChatTemplate) or not is_ours:
        raise Unknown("the format of records is not this package's own")
    values = {
        field.name: repr(getattr(record_format, field.name))
        for field in dataclasses.fields(record_format)
        if field.name != "chat_template"
    }
    texts = sorted(record_format.chat_template.texts.items())
    return json.dumps(values | {"chat_template": repr(texts)}, sort_keys=True)


def vocabulary_key(vocabulary: Vocabulary) -> list[Any]:
    """What tells a vocabulary's tokens from another's.

    Raises:
      Unknown: it is of a kind that is not known here.
    """
    kind = type(vocabulary)
    if kind is ByteVocabulary:
        return [kind.__name__, vocabulary.extra_ids]
    if (kind.__module__, kind.__name__) == _SEQIOS:
        return _seqios_key(vocabulary)
    if kind not in (SentencePieceVocabulary, WhitespaceVocabulary):
        raise Unknown(f"a {kind.__name__} is of a kind that is not known here")
    # The file's contents, wherever it lies.
    content = read_model(vocabulary.sentencepiece_model_file)
    digest = hashlib.sha256(content).hexdigest()
    marks = vocabulary.marks if kind is WhitespaceVocabulary else ()
    return [
        kind.__name__, digest, vocabulary.extra_ids, marks, sentencepiece.__version__,
    ]  # fmt: skip


def _seqios_key(vocabulary: Any) -> list[Any]:
    """Of one with settings that this package's own does not have."""
    import tensorflow_text

    content = read_model(vocabulary.sentencepiece_model_file)
    settings = {
        name: str(value)
        for name, value in vars(vocabulary).items()
        if name not in ("_sentencepiece_model_file", "_model")
    }
    digest = hashlib.sha256(content).hexdigest()
    return [".".join(_SEQIOS), digest, settings, tensorflow_text.__version__]
