"""What becomes of texts on their way to tokens and back: lengths, and what is lost."""

import collections
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from dro_jax.data.preprocessing import encode_batch
from dro_jax.data.task_report import OTHER, Change, Fidelity
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.vocabularies import check_vocabulary, encode_texts

_TEXTS_AT_ONCE = 512
_SHOWN_AROUND = 24
_WHITE = {"line breaks": "\n", "tabs": "\t", "runs of spaces": "  "}


def read_side(
    task: FeedbackTask, split: str, feature: str
) -> tuple[np.ndarray, Fidelity]:
    """Token counts ``[N]``, end-of-text included, and how truly they hold the texts.

    Args:
      task: the task.
      split: its split.
      feature: `inputs` or `targets`.

    Raises:
      DataError: the vocabulary cannot be used.
    """
    check_vocabulary(task.vocabulary)
    loaded = task.source.load(split)
    texts = loaded.prompts if feature == "inputs" else loaded.responses
    is_byte = type(task.vocabulary) is seqio.ByteVocabulary
    counts, unknown, lost, changed = [], [], collections.Counter(), []
    for i, ids in enumerate(_ids(task, split, feature)):
        counts.append(1 + len(ids))
        if is_byte:
            continue  # Bytes hold every text.
        unknown.append(np.count_nonzero(ids == task.vocabulary.unk_id))
        read = task.vocabulary.decode(ids.tolist())
        if read != texts[i]:
            changed.append(i)
            lost.update(_kinds(texts[i], read))
            if len(changed) == 1:
                example = _change(loaded.identities[i], texts[i], read)
    return np.array(counts), Fidelity(
        num_texts=len(texts),
        num_changed=len(changed),
        lost=dict(lost.most_common()),
        num_unknown=int(np.sum(unknown)),
        num_with_unknown=int(np.count_nonzero(unknown)),
        example=example if changed else None,
    )


def texts_as_read(
    task: FeedbackTask,
    prompts: Sequence[str],
    responses: Sequence[str],
    lengths: Mapping[str, int] | None,
) -> list[tuple[str, str]]:
    """Prompts and responses as their tokens give them back, cut where these are."""
    count = len(prompts)
    if not count:
        return []
    prompt_side, response_side = task.truncation
    features, kept = encode_batch(
        {
            "inputs": tf.constant(list(prompts)),
            "targets": tf.constant(list(responses)),
            "reward": tf.zeros([count, 1]),
            "record_id": tf.zeros([count, 2], tf.int32),
        },
        task.vocabulary,
        lengths,
        prompt_truncation=prompt_side,
        response_truncation=response_side,
    )

    def text(name, row):
        ids = features[name][row, : kept[name][row]].numpy().tolist()
        ends = ids and ids[-1] == task.vocabulary.eos_id
        return task.vocabulary.decode(ids[:-1] if ends else ids)

    return [(text("inputs", row), text("targets", row)) for row in range(count)]


def _ids(task: FeedbackTask, split: str, feature: str) -> Iterator[np.ndarray]:
    texts = tf.data.Dataset.from_tensor_slices(task.source.tensors(split)[feature])
    batches = texts.batch(_TEXTS_AT_ONCE).map(
        lambda batch: tuple(encode_texts(task.vocabulary, batch)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    for values, lengths in batches.as_numpy_iterator():
        yield from np.split(values, np.cumsum(lengths)[:-1])


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
