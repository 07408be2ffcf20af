"""Tokenizer files beside a Hugging Face model: carried along, or made from a vocabulary."""

import pathlib
import shutil
from typing import Any

from dro_jax.data.sentencepiece_files import holds_extra_ids, processor_of
from dro_jax.errors import ConfigError
from dro_jax.interop.hugging_face_output import write_json
from dro_jax.interop.stored_model import StoredModel

SENTENCEPIECE = "spiece.model"
NAMES = (
    SENTENCEPIECE,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
BYTE = "byte"
EXTRA_IDS = 100
_BYTES_AND_SPECIAL = 259
_BYT5_EXTRA_IDS = 125
# T5Tokenizer takes them for granted.
_SPECIAL = {"pad_token": 0, "eos_token": 1, "unk_token": 2}


def find(folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The tokenizer files that a folder holds."""
    return tuple(folder / name for name in NAMES if (folder / name).is_file())


def write(stored: StoredModel, folder: pathlib.Path, tokenizer: str | None) -> None:
    """Writes what `AutoTokenizer.from_pretrained` needs, as far as there is anything.

    Args:
      stored: the model; its tokenizer files are copied where no tokenizer is given.
      folder: exists.
      tokenizer: the path of a SentencePiece model, or `byte`.

    Raises:
      ConfigError: it is no SentencePiece model, or does not fit the model.
    """
    if tokenizer is None:
        for path in stored.tokenizer_files:
            shutil.copyfile(path, folder / path.name)
        return
    vocab_size = stored.config.vocab_size
    if tokenizer == BYTE:
        settings = _byte_settings(vocab_size)
    else:
        settings = _sentencepiece_settings(pathlib.Path(tokenizer), vocab_size)
        shutil.copyfile(tokenizer, folder / SENTENCEPIECE)
    write_json(folder / "tokenizer_config.json", settings)


def _byte_settings(vocab_size: int) -> dict[str, Any]:
    room = vocab_size - _BYTES_AND_SPECIAL
    if room < 0:
        raise ConfigError(
            f"the byte vocabulary has {_BYTES_AND_SPECIAL} ids, but the model's "
            f"embedding has {vocab_size} rows: it is no model of bytes. Give the "
            "SentencePiece model that it was trained with."
        )
    extra_ids = min(_BYT5_EXTRA_IDS, room)
    return {"tokenizer_class": "ByT5Tokenizer"} | _extra(extra_ids)


def _sentencepiece_settings(path: pathlib.Path, vocab_size: int) -> dict[str, Any]:
    try:
        processor = processor_of(path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the tokenizer {path} is not a SentencePiece model that can be read "
            f"({error}): give the .model file that the model was trained with, or 'byte'."
        ) from error
    pieces = processor.get_piece_size()
    if pieces > vocab_size:
        raise ConfigError(
            f"the tokenizer {path} has {pieces} pieces, but the model's embedding has "
            f"{vocab_size} rows: it is not the vocabulary that the model was trained "
            "with."
        )
    found = (processor.pad_id(), processor.eos_id(), processor.unk_id())
    if found != tuple(_SPECIAL.values()):
        raise ConfigError(
            f"the tokenizer {path} has padding, end and unknown at {found}; T5, and "
            "T5Tokenizer, have them at (0, 1, 2)."
        )
    special = {name: processor.id_to_piece(i) for name, i in _SPECIAL.items()}
    # mT5's file holds its own; a small vocabulary may have no room for any.
    own = holds_extra_ids(processor)
    extra_ids = 0 if own or pieces + EXTRA_IDS > vocab_size else EXTRA_IDS
    return (
        {"tokenizer_class": "T5Tokenizer", "legacy": False}
        | special
        | _extra(extra_ids)
    )


def _extra(count: int) -> dict[str, Any]:
    return {
        "extra_ids": count,
        "additional_special_tokens": [f"<extra_id_{i}>" for i in range(count)],
    }
