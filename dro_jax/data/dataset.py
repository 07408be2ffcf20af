"""Batches of feedback: deterministic in the seed, resumable behind any batch."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dro_jax.data.batching import check_start
from dro_jax.data.draws import Draws
from dro_jax.data.grouping import Groups, Singles, task_groups
from dro_jax.data.interface import START, WHOLE, Beside, HostBatch, Position, Shard
from dro_jax.data.mixtures import tasks_and_rates
from dro_jax.data.modules import import_modules
from dro_jax.data.ordering import ORDER
from dro_jax.data.packing import Packing
from dro_jax.data.prefetching import prefetched
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.row_reading import row_reader
from dro_jax.data.settings import (
    check_grouping,
    check_lengths,
    check_packing,
    check_positive,
    make_packing,
    shard_rows,
)
from dro_jax.data.split_tasks import SplitTasks, identity_among
from dro_jax.data.tasks import FeedbackTask
from dro_jax.data.vocabularies import Vocabulary, check_vocabulary
from dro_jax.errors import ConfigError

# Windows, or as many records, that wait to be read.
_AHEAD = 1


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """A split of a task or mixture, in batches.

    The same configuration gives the same batches in the same order, whenever and from
    behind whichever batch it is read. Each epoch has an order of its own.

    Attributes:
      mixture_or_task_name: a name registered by `register_feedback_task`, or a
        `seqio.MixtureRegistry` mixture of such tasks.
      task_feature_lengths: the most tokens of `inputs` and `targets`.
      split: the split's name.
      batch_size: rows of a batch, over all hosts.
      shuffle: permute the whole split in each epoch. False keeps the source's order.
      seed: decides the order and the draws of a mixture.
      num_epochs: None repeats for ever, a batch reaching over the end of an epoch where
        sizes do not divide, and a mixture drawing by its rates. A number goes through
        every record of every task that often, rates aside, and fills the last batch up
        with rows whose `trajectory_weights` are 0.
      pack: several trajectories a row, so that little of a batch is padding. Records
        keep their order but for each window of them, whose rows come in the order of
        their first records.
      max_trajectories_per_row: the most of a packed row, S; default 16.
      packing_window: consecutive records that are packed among themselves, from one
        epoch into the next; default 2,048.
      group_size: the most responses to one prompt that come side by side, best first,
        the prompt encoded once; None, every trajectory by itself. A row then holds
        `group_size` times the targets.
      single_responses: `keep` or `drop` groups of one response.
      draws: which records are drawn and how often, made by :meth:`drawn`; None, all
        alike.
      use_cached: refuse splits that `dro-jax tasks prepare` has not prepared, as seqio
        refuses tasks that are not cached; False, the first use prepares them.
      module: modules to import first, which register the tasks: a name, several
        separated by commas, or a sequence.

    Raises:
      ConfigError: a setting cannot be used.
    """

    mixture_or_task_name: str
    task_feature_lengths: Mapping[str, int]
    split: str = "train"
    batch_size: int = 8
    shuffle: bool = True
    seed: int = 0
    num_epochs: int | None = None
    pack: bool = False
    max_trajectories_per_row: int | None = None
    packing_window: int | None = None
    group_size: int | None = None
    single_responses: Singles = "keep"
    draws: Draws | None = None
    use_cached: bool = False
    module: str | Sequence[str] | None = None

    def __post_init__(self):
        check_lengths("DatasetConfig", self.task_feature_lengths)
        check_positive("DatasetConfig.batch_size", self.batch_size)
        if self.num_epochs is not None:
            check_positive("DatasetConfig.num_epochs", self.num_epochs)
        check_packing(
            "DatasetConfig",
            self.pack,
            self.max_trajectories_per_row,
            self.packing_window,
        )
        check_grouping("DatasetConfig", self.group_size, self.single_responses)

    def __hash__(self) -> int:
        lengths = tuple(sorted(self.task_feature_lengths.items()))
        return hash((self.mixture_or_task_name, lengths, self.split, self.seed))

    def one_pass(self, *, pack: bool | None = None) -> "DatasetConfig":
        """The same records once each, in the order of their sources.

        Args:
          pack: None keeps packing and groups. True packs by default settings whatever
            this configuration says, without groups, so that positions mean the same to
            every run.
        """
        changes = {}
        if pack is not None:
            changes = {
                "pack": pack,
                "max_trajectories_per_row": None,
                "packing_window": None,
                "group_size": None,
                "single_responses": "keep",
                "draws": None,
            }
        return dataclasses.replace(self, shuffle=False, num_epochs=1, **changes)

    def drawn(self, weights: np.ndarray, *, with_replacement: bool) -> "DatasetConfig":
        """The same records, drawn by weights.

        Args:
          weights: ``[R]`` 0 or more, in the order of :meth:`prompt_records`.
          with_replacement: draw each by itself, in proportion to its weight, which ends
            epochs and mixing rates; else leave those of weight 0 out.

        Raises:
          ConfigError: the records are grouped, or epochs are counted that do not exist.
          DataError: no weight is positive.
        """
        if self.group_size is not None or (with_replacement and self.num_epochs):
            raise ConfigError(
                "records that are drawn by weight cannot be grouped (group_size) or "
                "counted in epochs (num_epochs): leave these settings out"
            )
        return dataclasses.replace(self, draws=Draws(weights, with_replacement))

    @property
    def name(self) -> str:
        """The task's or mixture's."""
        return self.mixture_or_task_name

    @property
    def packing(self) -> Packing | None:
        """How rows are shared; None, not at all."""
        if not self.pack:
            return None
        return make_packing(
            self.task_feature_lengths,
            self.max_trajectories_per_row,
            self.packing_window,
            self.group_size,
        )

    def tasks(self) -> tuple[FeedbackTask, ...]:
        """The tasks behind the name, ordered by theirs, their modules imported.

        Raises:
          ConfigError: the name or a module is unknown, or a task has no feedback.
        """
        import_modules(self.module)
        every = tasks_and_rates(self.name, self.module)
        return tuple(task for task, _ in every)

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary that the tasks share.

        Raises:
          DataError: its file is missing or it lacks a token that T5 needs.
        """
        vocabulary = self.tasks()[0].vocabulary
        check_vocabulary(vocabulary)
        return vocabulary

    def has_split(self) -> bool:
        """Whether a task has the split; nothing is read for it."""
        return any(self.split in task.splits for task in self.tasks())

    def num_records(self) -> int:
        """Valid records of the split, over all tasks."""
        return self._split().num_records()

    def prompt_records(self) -> PromptRecords:
        """The split's records by prompt."""
        return self._split().prompt_records()

    def facts(self) -> dict[str, dict]:
        """What a run should keep of its data, by task, as `SplitTasks.facts` has it."""
        groups = None if self.group_size is None else self._groups
        return self._split().facts(self.task_feature_lengths, groups)

    def fingerprint(
        self, *, rewards: bool = False, order: bool = False
    ) -> dict[str, str]:
        """What log-probabilities depend on beside parameters.

        Args:
          rewards: what training depends on beside it too.
          order: the way in which the order was made, where records are shuffled, mixed
            or drawn, too.
        """
        split = self._split()
        found = split.fingerprint(self.task_feature_lengths, rewards=rewards)
        drawn = self.draws is not None and self.draws.with_replacement
        mixed = len(split.tasks) > 1 and self.num_epochs is None
        if order and (self.shuffle or mixed or drawn):
            found["order"] = ORDER
        return found

    def identity(self, record_id: Sequence[int]) -> str:
        """A record of a batch in a person's words.

        Args:
          record_id: one pair of a batch's `record_ids`.

        Raises:
          DataError: no task of this data set has such a record.
        """
        return identity_among(self.tasks(), record_id, self.split, self.name)

    def identities(self, batch: HostBatch) -> list[str]:
        """`identity` of every trajectory present in a batch, row by row."""
        present = batch["trajectory_weights"] > 0
        return [self.identity(record_id) for record_id in batch["record_ids"][present]]

    def batches(
        self,
        start: Position = START,
        shard: Shard = WHOLE,
        beside: Beside | None = None,
    ) -> Iterator[HostBatch]:
        """The batches from a position on.

        Args:
          start: (records, rows): how many records of all epochs come before, and how
            many rows made from the following ones are left out. The `next_position` of
            a batch is the start of all that follow it; computing it again takes one
            window of records at most.
          shard: (index, count), to read only that of `count` equal parts of each batch's
            rows. Nothing but lengths is read of the records of other parts, and
            `next_position` is the whole batch's.
          beside: as in `dro_jax.data.interface.Dataset`; for records that are not
            grouped.

        Returns:
          An iterator, which works ahead in a thread until it is closed or forgotten, of
          dictionaries with B = batch_size rows of S trajectories, S = 1
          unless packed: `encoder_input_tokens` ``[B, L]``, `decoder_input_tokens`,
          `decoder_target_tokens`, `decoder_loss_weights` ``[B, T]`` (int32), `rewards`,
          `trajectory_weights` ``[B, S]`` (float32), `record_ids` ``[B, S, 2]``,
          `truncated` ``[B, S]`` (int32); `next_position` ``[2]`` (int64). Packed, also
          `encoder_segment_ids`, `encoder_positions` ``[B, L]``, `decoder_segment_ids`,
          `decoder_positions` ``[B, T]`` (int32): trajectory s of a row is its segment
          s + 1, with positions from 0; its padding is 0 in both. Grouped, these fields
          too and `group_weights` ``[B, G]``, 1 where there is a group: group g of a row is
          segment g + 1 of the encoder, its response k trajectory s = gK + k.

        Raises:
          ConfigError: the task is unknown, or a setting, the position or the shard cannot
            be used.
          DataError: a record, the split or the vocabulary cannot be used.
        """
        packing = self.packing
        check_start(start, packing)
        shard_rows(shard, self.batch_size)
        shares = self._split().shares
        members = None
        if self.group_size is not None:
            members = [self._groups(task).members for task, _ in shares]
        reader = row_reader(
            shares,
            self.split,
            self.task_feature_lengths,
            members=members,
            draws=self.draws,
            shuffle=self.shuffle,
            seed=self.seed,
            num_epochs=self.num_epochs,
            packing=packing,
        )
        parts = reader.batches(self.batch_size, start, shard, beside)
        return prefetched(parts, _AHEAD)

    def _groups(self, task: FeedbackTask) -> Groups:
        return task_groups(task, self.split, self.group_size, self.single_responses)

    def _split(self) -> SplitTasks:
        import_modules(self.module)
        return SplitTasks.of(self.name, self.split, self.module, cached=self.use_cached)
