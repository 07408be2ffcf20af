"""One pass of the value of the reference over a split."""

import hashlib
import pathlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from flax import traverse_util

from dro_jax import batch_fields
from dro_jax.data import scratch
from dro_jax.data.interface import Dataset, HostBatch, Shard
from dro_jax.errors import CheckpointError, DataError
from dro_jax.models.attention_pool import PromptValue
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Batch, Params
from dro_jax.progress_bar import ProgressBar
from dro_jax.training.atomic_files import map_array
from dro_jax.training.before.record_fields import RecordIndex
from dro_jax.training.host_rows import whole_batch

_WHAT = "the value of the reference"
_INDEXED = batch_fields.names(reader="index")


def one_pass(dataset: Dataset, shard: Shard) -> Iterator[HostBatch]:
    """The records once each, packed as every run packs them: a part of each batch."""
    return dataset.one_pass(pack=True).batches(shard=shard)


def values_of_split(
    dataset: Dataset,
    forward: Callable[[HostBatch, Shard], np.ndarray],
    shard: Shard,
    what: str,
) -> np.ndarray:
    """A value of each record, by the devices of all processes and known to all of them.

    Args:
      dataset: the split.
      forward: part of a batch to the whole's values ``[B, S]``.
      shard: which part of each batch's rows this process reads, of how many.
      what: the values are, for the progress bar.

    Returns:
      ``[R]`` float32, in the order of the split's `prompt_records`.

    Raises:
      DataError: the split is empty, or a pass over it does not read all its records.
    """
    records, num_found = dataset.prompt_records(), 0
    index = RecordIndex(records.ids, what)
    values = scratch.array(len(records), np.float32)
    name = f"{dataset.name}-{dataset.split}"
    with ProgressBar(f"{what} ({name})", None, unit="records") as bar:
        for batch in one_pass(dataset, shard):
            found = forward(batch, shard)
            # Each process reads its own rows, and all learn whose numbers these are.
            owners = {name: batch[name] for name in _INDEXED}
            entries, present = index.find(whole_batch(owners, shard))
            values[entries[present]] = found[present]
            num_found += present.sum()
            bar.advance(int(present.sum()))
        bar.say()
    if not num_found:
        raise DataError(f"{name}: the split is empty, so there are no values")
    if num_found != len(records):
        raise DataError(
            f"{name}: one pass over the split read {num_found} of its {len(records)} "
            "records, and each needs a value"
        )
    return values


def encode_prompts(model: FeedbackModel, params: Params, batch: Batch) -> jax.Array:
    """``[B, L, D]`` states of a frozen encoder: no dropout, no gradient into it."""
    states = model.network.apply(
        {"params": model.policy_params(params)},
        batch["encoder_input_tokens"],
        batch.get("encoder_segment_ids"),
        method="encode",
    )
    return jax.lax.stop_gradient(states)


def read_values(path: pathlib.Path, count: int) -> np.ndarray:
    """The values of a split's records, mapped.

    Raises:
      CheckpointError: the file is damaged, or of another number of records.
    """
    values = map_array(path, _WHAT)
    if len(values) != count:
        raise CheckpointError(
            f"{_WHAT} {path} is of {len(values)} records, and the split has {count}: "
            "delete it, and the run computes it anew"
        )
    return values


def fit_digest(module: PromptValue, params: Params) -> str:
    """A digest of all that turns encoder states into values."""
    digest = hashlib.sha256(f"{module.min_value} {module.max_value}".encode())
    for name, array in sorted(traverse_util.flatten_dict(params, sep="/").items()):
        digest.update(f"{name} {array.shape}".encode())
        digest.update(np.asarray(array, "<f4").tobytes())
    return digest.hexdigest()[:16]
