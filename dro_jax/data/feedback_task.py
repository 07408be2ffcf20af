"""A task of feedback."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dro_jax.data.feedback_source import TRAIN, FeedbackSource, fingerprint
from dro_jax.data.interface import SplitRecords
from dro_jax.data.record_source import RecordSource
from dro_jax.data.records import RecordReport
from dro_jax.data.reward_statistics import RewardStatistics
from dro_jax.data.store.recipe import Recipe
from dro_jax.data.truncation import LEFT, RIGHT
from dro_jax.data.vocabularies import Vocabulary
from dro_jax.errors import ConfigError, DataError

RewardFn = Callable[[str, str], float]
ResponseFn = Callable[[str], str]


@dataclasses.dataclass(frozen=True)
class SeqioMetrics:
    """What `seqio.Evaluator` reports of a task.

    Attributes:
      metric_fns, metric_objs: seqio metrics.
      postprocess_fn: seqio's postprocessing of decoded responses.
      rewards: of `dro_jax.rewards`, by which it scores too.
    """

    metric_fns: Sequence[Callable[..., Any]] | None = None
    metric_objs: Sequence[Any] | None = None
    postprocess_fn: Callable[..., Any] | None = None
    rewards: Any = None

    @property
    def are_default(self) -> bool:
        """Whether they are those of `dro_jax.data.task_metrics`."""
        given = (self.metric_fns, self.metric_objs, self.postprocess_fn)
        return all(one is None for one in given)


class FeedbackTask:
    """A task of (prompt, response, reward), with all that training asks of it.

    What seqio asks of it, its task of the same name has
    (`seqio_task`), which is made when a program asks for it.

    Attributes:
      name: its own.
      about: what it is, in a line.
      source: of its records.
      source_field: the field that says where a record is from, if there is one.
      raw_source: yields the records, all their fields among them, before any is scored.
      reward_fn: the true reward of any response, where a program knows it; else None.
      best_response_fn: a response that no other beats, where a program knows it.
      truncation: the sides that are cut from prompts and from responses.
      metrics: of seqio's evaluator.
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
        metrics: SeqioMetrics | None = None,
    ):
        self.name = name
        self.source = source
        self.about = about
        self.source_field = source_field
        self.raw_source = raw_source or source.recipe.source
        self.reward_fn = reward_fn
        self.best_response_fn = best_response_fn
        self.truncation = truncation
        self.metrics = metrics or SeqioMetrics()

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of prompts and responses."""
        return self.recipe.vocabulary

    @property
    def splits(self) -> Sequence[str]:
        """The names of its splits, known without reading data."""
        return self.source.splits

    def records(self, split: str = TRAIN) -> SplitRecords:
        """The split's valid records, in the source's order.

        Raises:
          DataError: it cannot be used; the message names the record.
        """
        return self.source.records(split)

    def num_input_examples(self, split: str = TRAIN) -> int:
        """How many valid records a split has."""
        return len(self.records(split))

    def get_dataset(
        self,
        sequence_length: Mapping[str, int] | None = None,
        split: str = TRAIN,
        *arguments: Any,
        **settings: Any,
    ) -> Any:
        """As `seqio.Task.get_dataset` of seqio's task of this name.

        Raises:
          ConfigError: it must be prepared and is not; says what to type.
          DataError: a record, the split or the vocabulary cannot be used.
        """
        return self.seqio_task.get_dataset(
            sequence_length, split, *arguments, **settings
        )

    @property
    def output_features(self) -> Mapping[str, Any]:
        """Those of seqio's task of this name."""
        return self.seqio_task.output_features

    @functools.cached_property
    def seqio_task(self) -> Any:
        """The `dro_jax.data.seqio_tasks.SeqioFeedbackTask` that stands for it."""
        from dro_jax.data.seqio_tasks import make_seqio_task

        # Kept here, and in no table: with the last who knows the task both are gone,
        # and the files of its records, which stay open for as long as it lives, close.
        return make_seqio_task(self)

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


def as_feedback_task(task: Any) -> FeedbackTask:
    """The task itself, or the one that a task of seqio's stands for.

    Raises:
      ConfigError: it was not registered by `register_feedback_task`.
    """
    if isinstance(found := getattr(task, "feedback", task), FeedbackTask):
        return found
    raise ConfigError(
        f"task '{task.name}' is a seqio task without feedback: register its source with "
        "dro_jax.data.tasks.register_feedback_task instead"
    )


def is_feedback_task(task: Any) -> bool:
    """Whether :func:`as_feedback_task` takes it."""
    return isinstance(getattr(task, "feedback", task), FeedbackTask)
