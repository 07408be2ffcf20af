"""Data as a step needs them: batches completed by what an objective reads of records."""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

from dro_jax import batch_fields
from dro_jax.batch_fields import MISMATCHED
from dro_jax.data import scratch
from dro_jax.data.interface import (
    START,
    WHOLE,
    Dataset,
    HostBatch,
    Position,
    Shard,
)
from dro_jax.data.record_ids import PromptRecords
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import is_first, say
from dro_jax.objectives.interface import Objective
from dro_jax.training.before.advantage_report import AdvantageReport
from dro_jax.training.before.mismatched_pairs import (
    partners,
    with_mismatched_prompts,
    with_pairs_that_count,
)
from dro_jax.training.before.prompt_statistics import (
    prompt_value_table,
    quantile_table,
    sampled_value_table,
)
from dro_jax.training.before.record_fields import RecordField
from dro_jax.training.before.reference import Reference
from dro_jax.training.before.reference_table import ReferenceTable
from dro_jax.training.before.sampled_rewards import SampledRewards
from dro_jax.training.before.samples_of_reference import SamplesOfReference
from dro_jax.training.before.value_of_reference import ValueOfReference

Sampling = Literal["none", "priority"]
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """A data set, its batches completed by what an objective reads of their records.

    Attributes:
      dataset: gives the batches.
      tables: numbers of records, computed before.
      mismatched: whether rows get another row's prompts beside their own.
      advantages: what is left over of the records, where these are trained on by it.
      samples: rewards of the reference's own samples, where statistics of prompts come
        from these.
    """

    dataset: Dataset
    tables: tuple[ReferenceTable | RecordField, ...] = ()
    mismatched: bool = False
    advantages: AdvantageReport | None = None
    samples: SampledRewards | None = None

    @property
    def reference(self) -> ReferenceTable | None:
        """The cached reference, where there is one."""
        tables = [t for t in self.tables if isinstance(t, ReferenceTable)]
        return tables[0] if tables else None

    def complete(self, batch: HostBatch) -> HostBatch:
        """A batch of the data set with what the objective needs beside it."""
        for table in self.tables:
            batch = table.attach(batch)
        if not self.mismatched:
            return batch
        if f"{MISMATCHED}weights" in batch:
            return with_pairs_that_count(batch)
        return with_mismatched_prompts(batch)

    def batches(
        self, start: Position = START, shard: Shard = WHOLE
    ) -> Iterator[HostBatch]:
        """The batches from a position on, or one part of each one's rows.

        Args:
          start: where the first begins.
          shard: which part of the rows, of how many.
        """
        # A row's partner may be in another part: of that its prompts are read too.
        beside = partners if self.mismatched and shard != WHOLE else None
        if beside is None:
            batches = self.dataset.batches(start=start, shard=shard)
        else:
            batches = self.dataset.batches(start=start, shard=shard, beside=beside)
        return map(self.complete, batches)


class Preparation:
    """Prepares data sets for an objective.

    Args:
      objective: says what it needs.
      reference: gives log-probabilities; None where none are cached.
      value: V_ref, fitted; None where no advantages are needed.
      samples: of the reference, from whose rewards statistics of prompts come; None,
        from what was logged.
      sampling: which records are trained on: `none`, all alike, or, for objectives of
        the leftover, those of positive advantage; `priority`, drawn with replacement in
        proportion to their positive advantage or, without advantages, to r − min r.
    """

    def __init__(
        self,
        objective: Objective,
        reference: Reference | None,
        value: ValueOfReference | None,
        sampling: Sampling = "none",
        samples: SamplesOfReference | None = None,
    ):
        self._objective = objective
        self._samples = samples
        self._reference = reference
        self._value = value
        self._sampling = sampling

    def prepare(
        self, dataset: Dataset, *, training: bool = False, logged: bool = True
    ) -> PreparedData:
        """The data as a step needs them.

        Args:
          dataset: a split; `prompt_records` is read of it where the objective needs
            more of a record than its batch says, and `drawn` where not all are alike.
          training: whether records are drawn as `sampling` says; else all are read.
          logged: whether the records are read, or only what is known of their prompts.

        Raises:
          CheckpointError: a cache was computed from something else, or is damaged.
          ConfigError: the data set cannot be drawn from so.
          DataError: what is needed cannot be had of the split.
          Preempted: the run was told to stop; what was computed is kept.
        """
        needs, tables = self._objective.needs, []
        reference = None
        of_log = needs.prompt_values and self._samples is None
        if self._reference is not None and (logged or of_log):
            reference = self._reference.table(dataset)
        if reference is not None:
            tables.append(reference)
        advantages = report = samples = None
        if needs.prompt_values or needs.quantiles or needs.advantages:
            records = dataset.prompt_records()
            if needs.prompt_values or needs.quantiles:
                samples = self._samples and self._samples.of(dataset)
                tables += self._statistics(records, reference, samples)
            if needs.advantages:
                advantages = self._advantages(dataset, records)
                tables.append(RecordField("advantages", records.ids, advantages))
                if training and logged and is_first():
                    rewards = records.rewards
                    report = AdvantageReport.of(dataset, advantages, rewards)
                    say(report.text())
        if training and logged:
            dataset = self._drawn(dataset, advantages)
        return PreparedData(dataset, tuple(tables), needs.mismatched, report, samples)

    def _statistics(
        self,
        records: PromptRecords,
        reference: ReferenceTable | None,
        samples: SampledRewards | None,
    ) -> Iterator[RecordField]:
        """What an objective reads of all responses to a prompt."""
        needs = self._objective.needs
        if needs.prompt_values and samples is not None:
            yield sampled_value_table(self._objective, records, samples)
        elif needs.prompt_values:
            yield prompt_value_table(self._objective, records, reference)
        if needs.quantiles:
            yield quantile_table(records, samples)

    def _advantages(self, dataset: Dataset, records: PromptRecords) -> np.ndarray:
        """``[R]`` r − V_ref(x)."""
        values = self._value.values(dataset)
        return scratch.filled(
            len(records), np.float32, lambda part: records.rewards[part] - values[part]
        )

    def _drawn(self, dataset: Dataset, advantages: np.ndarray | None) -> Dataset:
        needs, priority = self._objective.needs, self._sampling == "priority"
        if not (priority or needs.leftover):
            return dataset
        if advantages is not None:
            weights = _above(advantages, 0.0)
            what = "beat the reference (advantage above 0)"
        else:
            rewards = dataset.prompt_records().rewards
            weights = _above(rewards, rewards.min())
            what = "have more than the least reward"
        share = np.count_nonzero(weights) / len(weights)
        if not share:
            raise DataError(
                f"no record of {dataset.name}, split '{dataset.split}', seems to {what}, "
                "so there is nothing to train on"
            )
        _logger.info(
            "%s, split '%s': %.1f%% of %d records %s, and are drawn",
            dataset.name,
            dataset.split,
            100 * share,
            len(weights),
            what,
        )
        return dataset.drawn(weights, with_replacement=priority)


def _above(values: np.ndarray, bound: float) -> np.ndarray:
    """By how much numbers of records exceed a bound; 0 where they do not."""
    return scratch.filled(
        len(values),
        np.float32,
        lambda part: np.maximum(values[part] - np.float32(bound), 0),
    )


def like_prepared(objective: Objective, batch: HostBatch) -> HostBatch:
    """A batch with the fields that a run adds to it, all but the reference's.

    They have their shapes and types and no meaning: to learn what a step would do
    before anything is prepared.
    """
    needs, sizes = objective.needs, batch_fields.sizes(batch)
    batch = batch | {
        name: batch_fields.zeros(name, sizes)
        for source in ("records", "samples")
        for name in batch_fields.names(source=source)
        if getattr(needs, batch_fields.field(name).need)
    }
    return with_mismatched_prompts(batch) if needs.mismatched else batch


def check_sampling(sampling: str) -> None:
    """Refuses a way of sampling that does not exist.

    Raises:
      ConfigError: it is neither `none` nor `priority`.
    """
    if sampling not in get_args(Sampling):
        raise ConfigError(
            f"train.sampling = {sampling!r} (SAMPLING) is unknown: use 'none' or "
            "'priority'"
        )
