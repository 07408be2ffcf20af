"""What the numbers computed from a split depend on, in words and digests."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.sentencepiece_files import read_model
from dro_jax.data.store.remembered import remembered
from dro_jax.data.store.stored_records import StoredRecords
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.vocabularies import Vocabulary, describe_vocabulary
from dro_jax.data.whitespace import WhitespaceVocabulary

_TEXTS_AT_ONCE = 1 << 12


def split_fingerprint(
    tasks: Sequence[FeedbackTask], split: str, lengths: Mapping[str, int]
) -> dict[str, str]:
    """By name: tasks, split, lengths, tokeniser, templates, truncation and texts.

    Rewards are left out, since log-probabilities do not depend on them.
    """
    return {
        "task": ", ".join(task.name for task in tasks),
        "split": split,
        "task feature lengths": ", ".join(
            f"{name} {lengths[name]}" for name in sorted(lengths)
        ),
        "tokeniser": _vocabulary_digest(tasks[0].vocabulary),
        "templates": " | ".join(_templates(task) for task in tasks),
        "truncation": " | ".join("/".join(task.truncation) for task in tasks),
        "records": _texts_digest(tasks, split),
    }


def rewards_digest(tasks: Sequence[FeedbackTask], split: str) -> dict[str, str]:
    """A digest of the rewards that training sees, under the name `rewards`."""
    digest = hashlib.sha256()
    for task in tasks:
        rewards = task.source.rewards(split)
        for part in scratch.chunks(len(rewards)):
            digest.update(rewards[part].astype("<f4").tobytes())
    return {"rewards": digest.hexdigest()[:16]}


def _templates(task: FeedbackTask) -> str:
    record_format = task.source.record_format
    return f"{record_format.prompt_template!r}, {record_format.response_template!r}"


def _vocabulary_digest(vocabulary: Vocabulary) -> str:
    path = getattr(vocabulary, "sentencepiece_model_file", None)
    digest = hashlib.sha256(describe_vocabulary(vocabulary).encode())
    if path is not None:
        # The file's contents, wherever it lies.
        digest = hashlib.sha256(read_model(path))
    digest.update(f"{vocabulary.vocab_size}".encode())
    if isinstance(vocabulary, WhitespaceVocabulary):
        digest.update(repr(vocabulary.marks).encode())
    return f"{type(vocabulary).__name__} {digest.hexdigest()[:16]}"


def _texts_digest(tasks: Sequence[FeedbackTask], split: str) -> str:
    parts = [task.records(split) for task in tasks]
    return remembered("texts", parts, lambda: _digest_of(parts))


def _digest_of(parts: Sequence[StoredRecords]) -> str:
    digest, count = hashlib.sha256(), 0
    for records in parts:
        count += len(records)
        # Ids are indices among all records, dropped ones included.
        for part in scratch.chunks(len(records)):
            digest.update(records.indices[part].astype("<i8").tobytes())
        for side in ("inputs", "targets"):
            for part in scratch.chunks(len(records), _TEXTS_AT_ONCE):
                positions = np.arange(part.start, part.stop)
                for text in records.encoded_texts(positions, side):
                    digest.update(len(text).to_bytes(8, "big"))
                    digest.update(text)
    return f"{count} {digest.hexdigest()[:16]}"
