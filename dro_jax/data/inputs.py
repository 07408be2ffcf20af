"""Records without feedback: prompts to answer, responses to score."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dro_jax.data.batching import fill_up
from dro_jax.data.encoding import encoded as encoded_texts
from dro_jax.data.encoding import separate, truncated, truncations
from dro_jax.data.interface import WHOLE, HostBatch, Shard
from dro_jax.data.prompt_batches import Prompts
from dro_jax.data.raw_records import read_texts
from dro_jax.data.records import RawRecord
from dro_jax.data.row_merging import merged_rows
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.truncation import Truncation
from dro_jax.data.vocabularies import check_vocabulary, encode_texts

_ENCODED_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Input:
    """One record of a file, in the texts that the model reads.

    Attributes:
      fields: the record as it stands in the file.
      prompt: the prompt template's text.
      response: the response template's text, or "" where none was asked for.
    """

    fields: Mapping[str, Any]
    prompt: str
    response: str = ""


def as_inputs(
    task: FeedbackTask, records: Iterable[RawRecord], *, responses: bool
) -> list[Input]:
    """Records with a task's fields, its reward field not needed.

    Args:
      task: whose field names and templates apply.
      records: as a source gives them.
      responses: whether records must hold a response.

    Raises:
      DataError: a record cannot be used.
    """
    inputs = []
    for raw in records:
        texts = read_texts(task.source.record_format, raw, responses=responses)
        inputs.append(Input(raw.fields, *texts))
    return inputs


class InputTexts(NamedTuple):
    """Rows of a batch as texts: lists, which JSON holds too.

    Attributes:
      prompts: the prompt template's texts.
      responses: the response template's, or "".
      ids: of the records, two int32 each.
    """

    prompts: list[str]
    responses: list[str]
    ids: list[list[int]]


def input_batches(
    task: FeedbackTask,
    inputs: Sequence[Input],
    lengths: Mapping[str, int],
    batch_size: int,
    shard: Shard = WHOLE,
) -> Iterator[HostBatch]:
    """Batches of inputs in their order, as `DatasetConfig.batches` gives records.

    Rewards are 0, `record_ids` those of :func:`record_ids`; the last batch is filled up
    with rows of `trajectory_weights` 0.

    Args:
      task: whose vocabulary and truncation apply.
      inputs: what to read.
      lengths: the task feature lengths.
      batch_size: rows of a batch, of all hosts together.
      shard: which part of each batch's rows to give, of how many.
    """
    check_vocabulary(task.vocabulary)
    for texts in text_batches(inputs, batch_size):
        yield encoded(task, texts, lengths, batch_size, shard)


def text_batches(inputs: Sequence[Input], batch_size: int) -> Iterator[InputTexts]:
    """The texts of inputs by batches, in their order; the last may have fewer rows."""
    ids = record_ids(inputs).tolist()
    for start in range(0, len(inputs), batch_size):
        chunk = inputs[start : start + batch_size]
        yield InputTexts(
            [item.prompt for item in chunk],
            [item.response for item in chunk],
            ids[start : start + batch_size],
        )


def encoded(
    task: FeedbackTask,
    texts: InputTexts,
    lengths: Mapping[str, int],
    batch_size: int,
    shard: Shard = WHOLE,
) -> HostBatch:
    """A batch of texts as tokens, filled up as those of :func:`input_batches`.

    Args:
      task, lengths, batch_size: as there.
      texts: those of the whole batch.
      shard: which part of its rows to read, of how many.
    """
    size = batch_size // shard[1]
    own = slice(shard[0] * size, (shard[0] + 1) * size)
    prompts, responses, ids = (rows[own] for rows in texts)
    count = len(prompts)
    whole = [encode_texts(task.vocabulary, side) for side in (prompts, responses)]
    cuts = truncations(lengths, task.truncation)
    tokens = [
        one.cut(side, task.vocabulary.eos_id)
        for one, side in zip(cuts, whole, strict=True)
    ]
    places = np.ones((count, 1), bool)
    fields = {
        "rewards": np.zeros(count, np.float32),
        "trajectory_weights": np.ones(count, np.float32),
        "record_ids": np.array(ids, np.int32).reshape(count, 2),
        "truncated": truncated(cuts, [side.lengths for side in whole]),
    }
    widths = lengths["inputs"], lengths["targets"]
    found = merged_rows(*tokens, fields, places, places, widths, segments=False)
    return fill_up(found, size)


def as_prompts(
    task: FeedbackTask, inputs: Sequence[Input], lengths: Mapping[str, int]
) -> Prompts:
    """The prompts of inputs as tokens, for `dro_jax.evaluation.sampled_prompts`.

    Args:
      task: whose vocabulary and truncation apply.
      inputs: what to read.
      lengths: the task feature lengths, of which that of `inputs` is read.
    """
    check_vocabulary(task.vocabulary)
    cut = Truncation(lengths["inputs"], task.truncation[0], always_eos=True)
    tokens: list[np.ndarray] = []
    for start in range(0, len(inputs), _ENCODED_AT_ONCE):
        texts = [item.prompt for item in inputs[start : start + _ENCODED_AT_ONCE]]
        tokens += separate(encoded_texts(task.vocabulary, texts, cut))
    return Prompts(tokens, record_ids(inputs))


def record_ids(inputs: Sequence[Input]) -> np.ndarray:
    """Ids of records without a split: int32 ``[N, 2]``, from what each record says.

    A record has the same id wherever it stands in a file and whatever stands beside it;
    of records that are equal in every field, the first, second, … have ids of their own.
    """
    times: collections.Counter[bytes] = collections.Counter()
    ids = np.empty((len(inputs), 2), np.int32)
    for row, item in enumerate(inputs):
        said = item.fields or {"": item.prompt}  # an input that was read from no file
        text = json.dumps(said, sort_keys=True, default=str).encode()
        content = hashlib.sha256(text).digest()
        numbered = content + times[content].to_bytes(8, "big")
        times[content] += 1
        ids[row] = np.frombuffer(hashlib.sha256(numbered).digest()[:8], ">i4")
    return ids
