"""Vocabularies of T5 by their files alone: the numbers are seqio's, without TensorFlow.

Names and methods are those of seqio's vocabularies, of which
`dro_jax.data.seqio_vocabularies` makes one where seqio wants it.
"""

import abc
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import sentencepiece

from dro_jax.data.sentencepiece_files import processor_of, read_model, with_extra_ids
from dro_jax.data.tokens import Tokens

_NUM_SPECIAL = 3  # padding, end of text, unknown
_NUM_BYTES = 256
_LOADING = threading.Lock()


class TextVocabulary(abc.ABC):
    """Texts to numbers and back; 0 is padding.

    Args:
      extra_ids: sentinels at its end.
    """

    pad_id: ClassVar[int] = 0

    def __init__(self, extra_ids: int = 0):
        self._extra_ids = extra_ids or 0

    @property
    def extra_ids(self) -> int:
        """How many sentinels were added."""
        return self._extra_ids

    @property
    @abc.abstractmethod
    def bos_id(self) -> int | None:
        """The token that begins texts, if there is one."""

    @property
    @abc.abstractmethod
    def eos_id(self) -> int | None:
        """The token that ends texts."""

    @property
    @abc.abstractmethod
    def unk_id(self) -> int | None:
        """The token of what is not known."""

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """Tokens, sentinels included."""

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Tokens of a text, without one for its end."""

    @abc.abstractmethod
    def encode_all(self, texts: Sequence[str | bytes]) -> Tokens:
        """Tokens of many texts, which may be given in UTF-8."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, up to the first that ends it."""
        known = self._num_known
        kept = [self.unk_id if i >= known else int(i) for i in ids]
        if self.eos_id in kept:
            kept = kept[: kept.index(self.eos_id) + 1]
        return self._text(kept)

    @property
    @abc.abstractmethod
    def _num_known(self) -> int:
        """Tokens below it have texts."""

    @abc.abstractmethod
    def _text(self, ids: list[int]) -> str:
        """That of known tokens."""

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        return self.__getstate__() == other.__getstate__()

    __hash__ = None


class ByteVocabulary(TextVocabulary):
    """ByT5's (arXiv:2105.13626): bytes of UTF-8, after three special tokens."""

    bos_id = None
    eos_id = 1
    unk_id = 2
    _num_known = _NUM_SPECIAL + _NUM_BYTES

    @property
    def vocab_size(self) -> int:
        return self._num_known + self.extra_ids

    def encode(self, text: str) -> list[int]:
        return [byte + _NUM_SPECIAL for byte in text.encode()]

    def encode_all(self, texts: Sequence[str | bytes]) -> Tokens:
        data = [x.encode() if isinstance(x, str) else x for x in texts]
        values = np.frombuffer(b"".join(data), np.uint8).astype(np.int32)
        return Tokens(values + np.int32(_NUM_SPECIAL), _lengths(data))

    def _text(self, ids: list[int]) -> str:
        data = bytes(i - _NUM_SPECIAL for i in ids if i >= _NUM_SPECIAL)
        return data.decode("utf-8", errors="ignore")

    def __str__(self) -> str:
        return f"ByteVocabulary(extra_ids={self.extra_ids})"


class SentencePieceVocabulary(TextVocabulary):
    """A SentencePiece model's, which is read when it is first used.

    Args:
      sentencepiece_model_file: its path.
      extra_ids: sentinels to add, `<extra_id_0>` the last, as T5 has them.
    """

    def __init__(self, sentencepiece_model_file: str, extra_ids: int = 0):
        super().__init__(extra_ids)
        self.sentencepiece_model_file = sentencepiece_model_file
        self._loaded: sentencepiece.SentencePieceProcessor | None = None

    def __getstate__(self) -> dict[str, Any]:
        # gin copies what it binds, and the model itself cannot be copied.
        return {n: x for n, x in super().__getstate__().items() if n != "_loaded"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _loaded=None)

    def load_model(self) -> None:
        """Reads the file now.

        Raises:
          OSError, RuntimeError: it is missing, or no model.
        """
        if self._loaded is None:
            content = read_model(self.sentencepiece_model_file)
            with _LOADING:  # SentencePiece's own loading is not safe among threads
                self._loaded = _processor(content, self.extra_ids)

    @property
    def tokenizer(self) -> sentencepiece.SentencePieceProcessor:
        """SentencePiece's own object, extra ids included."""
        self.load_model()
        return self._loaded

    @property
    def sp_model(self) -> bytes:
        """The model as a file holds it, extra ids included."""
        return self.tokenizer.serialized_model_proto()

    @property
    def bos_id(self) -> int:
        return self.tokenizer.bos_id()

    @property
    def eos_id(self) -> int:
        return self.tokenizer.eos_id()

    @property
    def unk_id(self) -> int:
        return self.tokenizer.unk_id()

    @property
    def vocab_size(self) -> int:
        return self._num_known

    @property
    def _num_known(self) -> int:
        return self.tokenizer.get_piece_size()

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def encode_all(self, texts: Sequence[str | bytes]) -> Tokens:
        found = self.tokenizer.encode(list(texts), num_threads=1) if texts else []
        lengths = _lengths(found)
        values = itertools.chain.from_iterable(found)
        return Tokens(np.fromiter(values, np.int32, int(lengths.sum())), lengths)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def __str__(self) -> str:
        digest = hashlib.md5(self.sp_model).hexdigest()
        return (
            f"SentencePieceVocabulary(file={self.sentencepiece_model_file}, "
            f"extra_ids={self.extra_ids}, spm_md5={digest})"
        )


@functools.lru_cache(8)
def _processor(content: bytes, extra_ids: int) -> sentencepiece.SentencePieceProcessor:
    return processor_of(with_extra_ids(content, extra_ids))


def _lengths(parts: Sequence[Sequence[Any]]) -> np.ndarray:
    return np.fromiter(map(len, parts), np.int32, len(parts))
