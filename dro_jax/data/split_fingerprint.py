"""What the numbers computed from a split depend on, in words and digests."""

import hashlib
from collections.abc import Mapping, Sequence

import seqio
import tensorflow as tf

from dro_jax.data import scratch
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.vocabularies import describe_vocabulary
from dro_jax.data.whitespace import WhitespaceVocabulary


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


def _vocabulary_digest(vocabulary: seqio.Vocabulary) -> str:
    path = getattr(vocabulary, "sentencepiece_model_file", None)
    digest = hashlib.sha256(describe_vocabulary(vocabulary).encode())
    if path is not None:
        # The file's contents, wherever it lies.
        digest = hashlib.sha256(tf.io.gfile.GFile(path, "rb").read())
    digest.update(f"{vocabulary.vocab_size}".encode())
    if isinstance(vocabulary, WhitespaceVocabulary):
        digest.update(repr(vocabulary.marks).encode())
    return f"{type(vocabulary).__name__} {digest.hexdigest()[:16]}"


def _texts_digest(tasks: Sequence[FeedbackTask], split: str) -> str:
    digest, count = hashlib.sha256(), 0
    for task in tasks:
        loaded = task.source.load(split)
        count += len(loaded)
        # Ids are indices among all records, dropped ones included.
        digest.update(loaded.indices.astype("<i8").tobytes())
        for texts in (loaded.prompts, loaded.responses):
            for text in texts:
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "big"))
                digest.update(encoded)
    return f"{count} {digest.hexdigest()[:16]}"
