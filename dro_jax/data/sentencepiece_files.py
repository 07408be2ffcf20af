"""SentencePiece models as files, read without TensorFlow."""

import sentencepiece

_FIRST_EXTRA_ID = "▁<extra_id_0>"  # as mT5's own file spells it


def processor_of(content: bytes) -> sentencepiece.SentencePieceProcessor:
    """The model in a `.model` file's bytes.

    Raises:
      RuntimeError: they are none.
    """
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(content)
    return processor


def holds_extra_ids(processor: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether a model has its extra ids among its pieces, as those of mT5 and umT5."""
    return processor.piece_to_id(_FIRST_EXTRA_ID) != processor.unk_id()
