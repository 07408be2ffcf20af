"""A seqio task of feedback."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf

from dro_jax.data.feedback_source import TRAIN, FeedbackSource, fingerprint
from dro_jax.data.interface import SplitRecords
from dro_jax.data.record_source import RecordSource
from dro_jax.data.records import RecordReport
from dro_jax.data.reward_statistics import RewardStatistics
from dro_jax.data.store.recipe import Recipe
from dro_jax.data.truncation import LEFT, RIGHT
from dro_jax.errors import DataError

RewardFn = Callable[[str, str], float]
ResponseFn = Callable[[str], str]


class FeedbackTask(seqio.Task):
    """A seqio task of (prompt, response, reward), with what training asks beyond it.

    Attributes:
      about: what it is, in a line.
      source_field: the field that says where a record is from, if there is one.
      raw_source: yields the records, all their fields among them, before any is scored.
      reward_fn: the true reward of any response, where a program knows it; else None.
      best_response_fn: a response that no other beats, where a program knows it.
    """

    def __init__(
        self,
        name: str,
        source: FeedbackSource,
        *,
        about: str = "",
        source_field: str | None = None,
        raw_source: RecordSource | None = None,
        reward_fn: RewardFn | None = None,
        best_response_fn: ResponseFn | None = None,
        truncation: tuple[str, str] = (LEFT, RIGHT),
        **kwargs: Any,
    ):
        super().__init__(name=name, source=source, **kwargs)
        self.about = about
        self.source_field = source_field
        self.raw_source = raw_source or source.recipe.source
        self.reward_fn = reward_fn
        self.best_response_fn = best_response_fn
        self._truncation = truncation

    @property
    def vocabulary(self) -> seqio.Vocabulary:
        """The vocabulary of prompts and responses."""
        return self.output_features["targets"].vocabulary

    def records(self, split: str = TRAIN) -> SplitRecords:
        """The split's valid records, in the source's order.

        Raises:
          DataError: it cannot be used; the message names the record.
        """
        return self.source.records(split)

    def get_dataset(
        self,
        sequence_length: Mapping[str, int] | None = None,
        split: str = TRAIN,
        use_cached: bool = False,
        *arguments: Any,
        **settings: Any,
    ) -> tf.data.Dataset:
        """As `seqio.Task.get_dataset`.

        With `use_cached` the split must have been prepared, which is this package's
        offline cache; without it the first use prepares it.

        Raises:
          ConfigError: it must be prepared and is not; says what to type.
          DataError: a record, the split or the vocabulary cannot be used.
        """
        if use_cached:
            self.source.check_prepared(split)
        return super().get_dataset(
            sequence_length, split, False, *arguments, **settings
        )

    @property
    def recipe(self) -> Recipe:
        """What its splits are prepared from."""
        return self.source.recipe

    def statistics(self, split: str = TRAIN) -> RewardStatistics:
        """Figures of a split's rewards before and after the transform."""
        return self.source.statistics(split)

    def record_report(self, split: str = TRAIN) -> RecordReport:
        """How many records of a split were read, and which were dropped."""
        return self.records(split).report

    def identity(self, record_id: int | Sequence[int], split: str = TRAIN) -> str:
        """A record in a person's words, `logs.jsonl line 17`.

        Args:
          record_id: the record's index in its split, or the pair that batches hold.
          split: the split that the record is from.

        Raises:
          DataError: the split has no such record, or the pair is of another task.
        """
        index = record_id
        if not isinstance(record_id, int):
            task, index = map(int, record_id)
            if task != fingerprint(self.name):
                raise DataError(
                    f"record id {[task, index]} belongs to another task than "
                    f"'{self.name}', whose ids begin with {fingerprint(self.name)}"
                )
        records = self.records(split)
        return records.identity(records.position(index))

    @property
    def truncation(self) -> tuple[str, str]:
        """The sides that are cut from prompts and from responses."""
        return self._truncation
