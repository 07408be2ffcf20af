"""A round's samples as records: what makes the log's rows makes theirs too."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dro_jax.data.interface import START, WHOLE, Beside, HostBatch, Position, Shard
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.truncation import (
    RESPONSE_TRUNCATED,
    Tokens,
    counting,
)
from dro_jax.training.before.reference_logprobs import token_mask
from dro_jax.training.online.round_samples import RoundSamples, of_tokens

if TYPE_CHECKING:
    from dro_jax.data.dataset import DatasetConfig
    from dro_jax.data.different_prompts import DifferentPrompts

# The field that says which sample of the round stands at a place; no step reads it.
SAMPLE = "sample"


class SampledRecords:
    """What `RowReader` asks of records, of the samples of a round.

    Args:
      prompts: of the split.
      samples: of the round.
    """

    def __init__(self, prompts: "DifferentPrompts", samples: RoundSamples):
        self._samples = samples
        different, self._asked = np.unique(samples.places, return_inverse=True)
        self._prompts = prompts.at(different)
        self._prompt_lengths = self._prompts.lengths

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """``[n, 2]`` tokens of inputs and targets, with their ends."""
        return np.stack(
            [
                self._prompt_lengths[self._asked[positions]],
                self._samples.lengths[positions].astype(np.int64),
            ],
            axis=1,
        )

    def tokens(self, positions: np.ndarray, side: str) -> Tokens:
        """Tokens of samples in the order of `positions`."""
        if side == "inputs":
            asked = self._asked[positions]
            found = [self._prompts.tokens[place] for place in asked.tolist()]
            values = np.concatenate([np.zeros(0, np.int32), *found])
            return Tokens(values.astype(np.int32), self._prompt_lengths[asked])
        lengths = self._samples.lengths[positions]
        return Tokens(self._samples.tokens[self.token_places(positions)], lengths)

    def token_places(self, positions: np.ndarray) -> np.ndarray:
        """Where the tokens of samples lie among all of the round."""
        lengths = self._samples.lengths[positions]
        return np.repeat(self._samples.starts[positions], lengths) + counting(lengths)

    def fields(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """As `JoinedRecords.fields`, and which sample it is."""
        cut = RESPONSE_TRUNCATED * self._samples.cut[positions]
        return {
            "rewards": self._samples.rewards[positions],
            "trajectory_weights": np.ones(len(positions), np.float32),
            "record_ids": self.record_ids(positions),
            "truncated": cut.astype(np.int32),
            SAMPLE: positions.astype(np.int32),
        }

    def record_ids(self, positions: np.ndarray) -> np.ndarray:
        """``[n, 2]`` the id of the first record of each sample's prompt."""
        return self._prompts.record_ids[self._asked[positions]]


@dataclasses.dataclass(frozen=True, eq=False)
class RoundRows:
    """The rows of a round, in batches; as a `Dataset` as far as they are read.

    Attributes:
      like: the log's, whose lengths, packing and groups are the samples' too.
      prompts: of its split.
      samples: of the round.
      batch_size: rows of a batch, over all hosts.
      epochs: passes over the samples.
      seed: of their order; None, the order in which they were drawn.
    """

    like: "DatasetConfig"
    prompts: "DifferentPrompts"
    samples: RoundSamples
    batch_size: int
    epochs: int = 1
    seed: int | None = None

    def batches(
        self,
        start: Position = START,
        shard: Shard = WHOLE,
        beside: Beside | None = None,
    ) -> Iterator[HostBatch]:
        """As `Dataset.batches`; with computed fields as :meth:`complete` puts them in."""
        records = SampledRecords(self.prompts, self.samples)
        reader = self._reader(records)
        for some in reader.batches(self.batch_size, start, shard, beside):
            for batch in some:
                yield self.complete(batch, records)

    def complete(self, batch: HostBatch, records: SampledRecords) -> HostBatch:
        """The batch with what was computed of its samples; 0 at padding."""
        numbers = batch[SAMPLE]
        present = batch["trajectory_weights"] > 0
        samples, fields = self.samples, {}
        places = mask = None
        for name, values in samples.fields.items():
            if not of_tokens(name):
                fields[name] = np.where(present, values[numbers], np.float32(0))
                continue
            if places is None:
                # Tokens of a row's trajectories lie end to end, in their order.
                places = records.token_places(numbers[present].astype(np.int64))
                mask = np.any(token_mask(batch), axis=-1)
            fields[name] = np.zeros(mask.shape, np.float32)
            fields[name][mask] = values[places]
        return batch | fields

    def _reader(self, records: SampledRecords) -> Any:
        from dro_jax.data.batching import RowReader
        from dro_jax.data.grouping import group_by_prompt
        from dro_jax.data.ordering import Component, record_order

        size, members, like = len(self.samples), None, self.like
        if like.group_size is not None:
            places = self.samples.places.astype(np.uint64)
            ids = np.arange(size, dtype=np.int64)
            known = PromptRecords(ids, places, self.samples.rewards)
            members = group_by_prompt(known, like.group_size, "keep").members
            size = len(members)
        order = record_order(
            [Component("fresh samples", size)],
            shuffle=self.seed is not None,
            seed=self.seed or 0,
            num_epochs=self.epochs,
        )
        packing, lengths = like.packing, like.task_feature_lengths
        if packing is not None:
            # Each epoch is packed by itself, so that no row holds a sample twice.
            packing = dataclasses.replace(packing, window=size)
        widths = lengths["inputs"], lengths["targets"] * (like.group_size or 1)
        return RowReader(records, order, members, widths, packing)
