"""A split's valid records as batches and tables read them: `SplitRecords` in memory."""

import hashlib
from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf

from dro_jax.data.interface import Side
from dro_jax.data.split_loading import LoadedSplit
from dro_jax.data.vocabularies import check_vocabulary, encode_texts

_ENCODED_AT_ONCE = 4096
_SIDES = ("inputs", "targets")


class RecordsInMemory:
    """`SplitRecords` of a split that has been read.

    Args:
      loaded: the split.
      vocabulary: of both texts.

    Raises:
      DataError: the vocabulary cannot be used.
    """

    def __init__(self, loaded: LoadedSplit, vocabulary: seqio.Vocabulary):
        check_vocabulary(vocabulary)
        self.rewards = loaded.rewards
        self.indices = loaded.indices
        self.report = loaded.report
        self._loaded = loaded
        self._texts = dict(zip(_SIDES, (loaded.prompts, loaded.responses), strict=True))
        encoded = {side: _encoded(vocabulary, self._texts[side]) for side in _SIDES}
        self.lengths = np.stack([encoded[side][1] for side in _SIDES], axis=1)
        self._tokens = {
            side: np.split(values, np.cumsum(lengths)[:-1])
            for side, (values, lengths) in encoded.items()
        }
        self.prompt_hashes = np.array(list(map(text_hash, loaded.prompts)), np.uint64)

    def __len__(self) -> int:
        return len(self._loaded)

    def tokens(self, positions: np.ndarray, side: Side) -> np.ndarray:
        """Tokens of records by their positions, end to end: int32."""
        chosen = [self._tokens[side][i] for i in positions]
        return np.concatenate([np.zeros(0, np.int32), *chosen])

    def texts(self, positions: np.ndarray, side: Side) -> list[str]:
        """The texts that the model reads of records, by their positions."""
        return [self._texts[side][i] for i in positions]

    def identity(self, position: int) -> str:
        """A record in a person's words."""
        return self._loaded.identities[position]

    def position(self, index: int) -> int:
        """Where the record of that index stands among the valid ones."""
        return self._loaded.position(index)


def text_hash(text: str) -> int:
    """The first 8 bytes of a text's SHA-256, big-endian."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _encoded(
    vocabulary: seqio.Vocabulary, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(Tokens of all texts, end to end; how many each has.)"""
    values, lengths = [], []
    for start in range(0, len(texts), _ENCODED_AT_ONCE):
        part = tf.constant([text.encode() for text in texts[start:][:_ENCODED_AT_ONCE]])
        tokens = encode_texts(vocabulary, part)
        values.append(tokens.values.numpy())
        lengths.append(tokens.lengths.numpy())
    return np.concatenate(values), np.concatenate(lengths)
