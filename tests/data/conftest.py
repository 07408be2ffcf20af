"""Small files and tasks made on the spot."""

import itertools
import json

import pytest
import sentencepiece
import seqio

from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task

# As wide as all of them: tasks of a mixture are read in the order of their names.
_numbers = map("{:05}".format, itertools.count())
SENTENCES = (
    "the cat sat on the mat",
    "a dog ran over the green hill",
    "please send the parcel to my house",
    "we are sorry that the parcel is late",
    "yes, it will be there at noon",
)


@pytest.fixture
def write_jsonl(tmp_path):
    """Writes records, given as objects, or lines, given as bytes; returns the path."""

    def write(records, name="records.jsonl"):
        lines = [
            record if isinstance(record, bytes) else json.dumps(record).encode()
            for record in records
        ]
        path = tmp_path / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return str(path)

    return write


@pytest.fixture
def register_source():
    """Registers a byte-level task from a source, for one test."""
    names = []

    def register(source, name=None, **settings):
        name = name or f"made_{next(_numbers)}"
        task = register_feedback_task(
            name, source, **{"vocabulary": "byte", **settings}
        )
        names.append(name)
        return task

    yield register
    for name in names:
        seqio.TaskRegistry.remove(name)


@pytest.fixture
def register(write_jsonl, register_source):
    """Registers a byte-level task from records or splits of them, for one test."""

    def register(records, name=None, **settings):
        name = name or f"made_{next(_numbers)}"
        splits = records if isinstance(records, dict) else {"train": records}
        files = {
            split: write_jsonl(rows, f"{name}-{split}.jsonl")
            for split, rows in splits.items()
        }
        return register_source(JsonlSource(files), name, **settings)

    return register


@pytest.fixture
def mixture():
    """Registers a mixture for one test."""
    names = []

    def register(name, tasks):
        names.append(name)
        return seqio.MixtureRegistry.add(name, tasks)

    yield register
    for name in names:
        seqio.MixtureRegistry.remove(name)


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory):
    """The path of a vocabulary with T5's special tokens."""
    return _train_vocabulary(
        tmp_path_factory.mktemp("vocabulary") / "spm.model",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )


@pytest.fixture(scope="session")
def unusual_sentencepiece_model(tmp_path_factory):
    """SentencePiece's own special tokens, id 0 unknown, as no T5 has them."""
    return _train_vocabulary(tmp_path_factory.mktemp("vocabulary") / "unusual.model")


def _train_vocabulary(path, **special_ids):
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES * 20),
            model_writer=file,
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
            **special_ids,
        )
    return str(path)


@pytest.fixture(scope="session")
def trajectories():
    """Makes records whose prompt, response and reward all tell their number."""

    def make(count, start=0):
        return [
            {"prompt": f"p{i}", "response": f"r{i}", "reward": i / 8}
            for i in range(start, start + count)
        ]

    return make
