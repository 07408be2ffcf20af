"""SentencePiece models as files, read without TensorFlow."""

import struct

import sentencepiece

from dro_jax.paths import is_url

_FIRST_EXTRA_ID = "▁<extra_id_0>"  # as mT5's own file spells it
_USER_DEFINED = 4  # a piece's type


def read_model(path: str) -> bytes:
    """A file's bytes; behind a URL, by TensorFlow.

    Raises:
      OSError: it cannot be read.
    """
    if not is_url(path):
        with open(path, "rb") as file:
            return file.read()
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise OSError(str(error)) from error


def processor_of(content: bytes) -> sentencepiece.SentencePieceProcessor:
    """The model in a `.model` file's bytes.

    Raises:
      RuntimeError: they are none.
    """
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(content)
    return processor


def with_extra_ids(content: bytes, count: int) -> bytes:
    """A model's bytes with T5's sentinels as its last pieces, `<extra_id_0>` the last.

    What stands behind a message of protocol buffers adds to its lists, so that pieces
    are added without knowing what else the model holds.
    """
    return content + b"".join(map(_piece, reversed(range(count))))


def _piece(number: int) -> bytes:
    name = f"▁<extra_id_{number}>".encode()
    # Fields: 1, the piece; 2, its score; 3, its type.
    message = b"\x0a" + bytes([len(name)]) + name
    message += b"\x15" + struct.pack("<f", 0.0) + b"\x18" + bytes([_USER_DEFINED])
    return b"\x0a" + bytes([len(message)]) + message


def holds_extra_ids(processor: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether a model has its extra ids among its pieces, as those of mT5 and umT5."""
    return processor.piece_to_id(_FIRST_EXTRA_ID) != processor.unk_id()
