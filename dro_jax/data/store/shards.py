"""A unit's records in files: tokens, texts and rows of numbers, written in batches.

Tokens and texts of a record lie side by side, prompt before response, then, among the
texts, its identity. A row says where, how long, and the checksums of these parts.
"""

import hashlib
import json
import os
import pathlib
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dro_jax.data.store.units import Unit
from dro_jax.data.text_vocabularies import TextVocabulary
from dro_jax.data.tokens import Tokens
from dro_jax.data.vocabularies import Vocabulary, encode_texts
from dro_jax.whole_files import write_json

KINDS = ("tokens", "texts", "rows", "dropped")
ROW = np.dtype(
    [
        ("reward", "<f8"),
        ("index", "<i8"),  # within its unit, bad records included
        ("prompt_hash", "<u8"),
        ("lengths", "<i4", (2,)),  # tokens of prompt and response
        ("tokens", "<i8"),  # where the tokens begin in their file, in bytes
        ("texts", "<i8"),
        ("text_bytes", "<u4", (3,)),  # of prompt, response and identity
        ("checks", "<u4", (5,)),  # CRC-32: tokens of both, texts of both, identity
    ]
)
# Below this, a file that a failing computer spoils is found by its size or checksum,
# and made anew; waiting for the disk would take longer than that.
SYNCED = 1 << 20
_INSIDE = b"\0"


class Record(NamedTuple):
    """A valid trajectory on its way into a shard."""

    prompt: bytes
    response: bytes
    identity: str
    reward: float
    index: int


def text_hash(text: bytes) -> int:
    """The first 8 bytes of a text's SHA-256, big-endian."""
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def token_type(vocabulary: Vocabulary) -> np.dtype:
    """The numbers in which a vocabulary's tokens are kept."""
    # One of another kind may give numbers beyond its size.
    is_small = isinstance(vocabulary, TextVocabulary)
    return np.dtype("<u2" if is_small and vocabulary.vocab_size <= 1 << 16 else "<i4")


def short_identity(identity: str, unit: Unit) -> bytes:
    """A record's identity without its unit's path, which may be another next time."""
    if unit.path and identity.startswith(unit.path):
        return _INSIDE + identity[len(unit.path) :].encode("utf-8", "surrogatepass")
    return identity.encode("utf-8", "surrogatepass")


def whole_identity(short: bytes, unit: Unit) -> str:
    """What :func:`short_identity` was made of."""
    text = short.removeprefix(_INSIDE).decode("utf-8", "surrogatepass")
    return unit.path + text if short.startswith(_INSIDE) else text


class ShardWriter:
    """Writes the files of one unit, which are seen when all of them are whole.

    Args:
      folder: the store's.
      unit: the unit.
      vocabulary: of prompts and responses.
    """

    def __init__(self, folder: pathlib.Path, unit: Unit, vocabulary: Vocabulary):
        self._folder = folder
        self._unit = unit
        self._vocabulary = vocabulary
        self._type = token_type(vocabulary)
        self._files = {kind: _Output(folder, f"{unit.name}.{kind}") for kind in KINDS}

    def write(self, records: Sequence[Record]) -> None:
        """Appends records."""
        encoded = [
            self._encoded([record.prompt for record in records]),
            self._encoded([record.response for record in records]),
        ]
        rows = np.zeros(len(records), ROW)
        rows["reward"] = [record.reward for record in records]
        rows["index"] = [record.index for record in records]
        rows["prompt_hash"] = [text_hash(record.prompt) for record in records]
        rows["lengths"] = np.stack([lengths for _, lengths in encoded], axis=1)
        tokens = list(zip(*(_cut(*side, self._type) for side in encoded), strict=True))
        texts = [
            (
                record.prompt,
                record.response,
                short_identity(record.identity, self._unit),
            )
            for record in records
        ]
        rows["text_bytes"] = [list(map(len, three)) for three in texts]
        rows["checks"] = [
            list(map(zlib.crc32, (*pair, *three)))
            for pair, three in zip(tokens, texts, strict=True)
        ]
        for kind, groups in (("tokens", tokens), ("texts", texts)):
            sizes = np.array([sum(map(len, group)) for group in groups], np.int64)
            rows[kind] = self._files[kind].size + np.cumsum(sizes) - sizes
            self._files[kind].append(b"".join(b"".join(group) for group in groups))
        self._files["rows"].append(rows.tobytes())

    def drop(self, identity: str, reason: str, message: str) -> None:
        """Notes a record that is left out."""
        short = short_identity(identity, self._unit).decode("utf-8", "surrogatepass")
        line = json.dumps([short, reason, message])
        self._files["dropped"].append(line.encode() + b"\n")

    def commit(self, facts: Mapping[str, Any]) -> None:
        """Makes the shard seen, with facts that its marker keeps."""
        files = {kind: file.commit() for kind, file in self._files.items()}
        durable = max(size for size, _ in files.values()) > SYNCED
        path = marker(self._folder, self._unit)
        write_json(path, {**facts, "files": files}, durable=durable)

    def discard(self) -> None:
        """Removes what has been written and not been committed."""
        for file in self._files.values():
            file.discard()

    def _encoded(self, texts: Sequence[bytes]) -> Tokens:
        return encode_texts(self._vocabulary, texts)


class _Output:
    """A file under another name until it is whole."""

    def __init__(self, folder: pathlib.Path, name: str):
        self._path = folder / name
        self._partial = folder / f"{name}.{uuid.uuid4().hex}.partial"
        self._file = self._partial.open("wb")
        self.size = 0
        self._check = 0

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)
        self._check = zlib.crc32(data, self._check)

    def commit(self) -> list[int]:
        """(Size, CRC-32) of the file, which now has its name."""
        self._file.flush()
        if self.size > SYNCED:
            os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._partial, self._path)
        return [self.size, self._check]

    def discard(self) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)


def marker(folder: pathlib.Path, unit: Unit) -> pathlib.Path:
    """The file that says that a unit's shard is whole."""
    return folder / f"{unit.name}.json"


def _cut(values: np.ndarray, lengths: np.ndarray, kind: np.dtype) -> list[bytes]:
    data = values.astype(kind).tobytes()
    ends = np.cumsum(lengths) * kind.itemsize
    starts = ends - lengths * kind.itemsize
    return [data[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
