"""What becomes of texts on their way to tokens and back: lengths, and what is lost."""

import collections
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.encoding import separate, truncations
from dro_jax.data.interface import Side, SplitRecords
from dro_jax.data.task_report import OTHER, Change, Fidelity
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.text_vocabularies import ByteVocabulary
from dro_jax.data.vocabularies import encode_texts

_TEXTS_AT_ONCE = 512
_SHOWN_AROUND = 24
_WHITE = {"line breaks": "\n", "tabs": "\t", "runs of spaces": "  "}


def read_side(
    task: FeedbackTask, split: str, feature: Side
) -> tuple[np.ndarray, Fidelity]:
    """Token counts ``[N]``, end-of-text included, and how truly they hold the texts.

    Args:
      task: the task.
      split: its split.
      feature: `inputs` or `targets`.

    Raises:
      DataError: the vocabulary cannot be used.
    """
    records = task.records(split)
    column = ("inputs", "targets").index(feature)
    counts = records.lengths[:, column] + 1
    lost: collections.Counter[str] = collections.Counter()
    num_changed = num_unknown = num_with_unknown = 0
    example = None
    if type(task.vocabulary) is not ByteVocabulary:  # bytes hold every text
        for position, text, ids in _texts_and_tokens(records, feature, column):
            unknown = np.count_nonzero(ids == task.vocabulary.unk_id)
            num_unknown += int(unknown)
            num_with_unknown += bool(unknown)
            read = task.vocabulary.decode(ids.tolist())
            if read != text:
                num_changed += 1
                lost.update(_kinds(text, read))
                if example is None:
                    example = _change(records.identity(position), text, read)
    return counts, Fidelity(
        num_texts=len(records),
        num_changed=num_changed,
        lost=dict(lost.most_common()),
        num_unknown=num_unknown,
        num_with_unknown=num_with_unknown,
        example=example,
    )


def texts_as_read(
    task: FeedbackTask,
    prompts: Sequence[str],
    responses: Sequence[str],
    lengths: Mapping[str, int] | None,
) -> list[tuple[str, str]]:
    """Prompts and responses as their tokens give them back, cut where these are."""
    vocabulary = task.vocabulary
    sides = [encode_texts(vocabulary, texts) for texts in (prompts, responses)]
    if lengths is not None:
        cuts = truncations(lengths, task.truncation)
        sides = [
            cut.cut(side, vocabulary.eos_id)
            for cut, side in zip(cuts, sides, strict=True)
        ]

    def text(tokens):
        ids = tokens.tolist()
        ends = ids and ids[-1] == vocabulary.eos_id
        return vocabulary.decode(ids[:-1] if ends else ids)

    return list(zip(*(map(text, separate(side)) for side in sides), strict=True))


def _texts_and_tokens(
    records: SplitRecords, feature: Side, column: int
) -> Iterator[tuple[int, str, np.ndarray]]:
    """(Position, text, its tokens) of every record."""
    for part in scratch.chunks(len(records), _TEXTS_AT_ONCE):
        positions = np.arange(part.start, part.stop)
        ends = np.cumsum(records.lengths[part, column])
        tokens = np.split(records.tokens(positions, feature), ends[:-1])
        yield from zip(
            positions.tolist(), records.texts(positions, feature), tokens, strict=True
        )


def _kinds(text: str, read: str) -> list[str]:
    kinds = [
        kind for kind, white in _WHITE.items() if text.count(white) > read.count(white)
    ]
    # Where words stay as they are, white space is all that is lost.
    return kinds if kinds and text.split() == read.split() else [*kinds, OTHER]


def _change(identity: str, text: str, read: str) -> Change:
    pairs = enumerate(zip(text, read, strict=False))
    first = next((i for i, (a, b) in pairs if a != b), min(len(text), len(read)))
    start = max(0, first - _SHOWN_AROUND)
    parts = (
        f"{'…' if start else ''}{whole[start : first + _SHOWN_AROUND]}"
        + ("…" if len(whole) > first + _SHOWN_AROUND else "")
        for whole in (text, read)
    )
    return Change(identity, *parts)
